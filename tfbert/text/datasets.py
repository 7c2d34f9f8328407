"""Tokenized splits: token sequences and targets of all records, computed once and cached on disk."""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.files import read_json, write_json
from tfbert.text.inputs import Item, batch_of
from tfbert.text.preprocessor import Preprocessor, Sequences
from tfbert.text.ragged import Ragged, Values, concatenated, head, take
from tfbert.text.record_sequences import Chunk, RecordSequences
from tfbert.text.records import Record
from tfbert.text.tokenizer import SpecialTokens

# Part of the cache key. Raise it when the ids of a text or the stored files change.
_TOKENIZATION_VERSION = 5
_CHUNK_RECORDS = 2048
# Number of tokens to process at a time, because a whole split may not fit into memory.
_CHUNK_TOKENS = 2**22
# Tokenized splits that have not been opened for 30 days are deleted.
_MAX_UNUSED_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True)
class Target:
    """Type and shape of a named target of one sequence.

    Args:
        dtype: the name of the NumPy dtype.
        shape: the shape of one sequence's target; `(None,)` for a vector of any length.
        per_token: whether the target has one value per token, including special tokens.
        padding: the value that pads vectors of different lengths.
    """

    dtype: str
    shape: tuple[int | None, ...] = ()
    per_token: bool = False
    padding: int = -1

    @property
    def is_ragged(self) -> bool:
        """Whether sequences have targets of different lengths."""
        return self.per_token or self.shape == (None,)


# Collects a warning about a record: `warn(message)`, or `warn(message, where)` if the location is not the record's.
Warn = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Functions and settings that convert the records of a split to sequences and targets.

    Args:
        preprocessor: the preprocessor that `sequences` uses.
        inputs_of: function that returns the inputs of a record.
        specs: input name to the spec of its tensor.
        sequences: function that returns the token sequences of a batch of inputs.
        targets_of: function that returns the targets of each sequence of a record, by name. Sequences with `None`
            instead of targets are dropped.
        targets: target name to its type and shape.
        by_record: whether all sequences of a record form one example; otherwise every sequence is an example.
        key: strings that identify the records and all settings that affect their sequences and targets.
    """

    preprocessor: Preprocessor
    inputs_of: Callable[[Record], Item]
    specs: Mapping[str, tf.TensorSpec]
    sequences: Callable[[Mapping[str, tf.Tensor]], Sequences]
    targets_of: Callable[[Record, RecordSequences, Warn], Sequence[Mapping[str, Any] | None]]
    targets: Mapping[str, Target]
    by_record: bool
    key: Sequence[str]

    def fingerprint(self) -> str:
        """Return the cache key: 32 hex digits that change with everything that affects the tokenized split."""
        tokenizer = self.preprocessor.tokenizer
        rules = [_TOKENIZATION_VERSION, *tokenizer.rules]
        targets = {name: [target.dtype, target.shape, target.per_token] for name, target in self.targets.items()}
        text = json.dumps([rules, targets, self.by_record, tokenizer.vocabulary, list(self.key)])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class TokenizedSplit:
    """Token sequences, targets and features of a split, grouped into examples.

    An example is one sequence, or all sequences of a record. Batches consist of examples.

    Args:
        sequences: token ids including special tokens, memory-mapped uint16 or int32.
        second_starts: int32 `(num_sequences,)`, the position of the second segment in each sequence.
        targets: target name to its values: an array `(num_sequences, ...)` or one vector per sequence.
        features: feature name to its values `(num_sequences, ...)`. Features are numerical inputs of the head.
        examples: int64 `(num_examples + 1,)`, the index of the first sequence of each example, and the number of
            sequences at the end.
        records: the same for records, `(num_records + 1,)`; `None` for a part of a split.
        num_tokens: int64 `(num_records,)`, the number of tokens of each record before truncation, including special
            tokens.
        num_text_tokens: int64 `()`, the number of tokens of all texts before truncation, excluding special tokens.
        num_unknown_tokens: int64 `()`, the number of [UNK] among them.
        warnings: warning about records to the locations of these records.
        special: the ids of the special tokens.
        target_specs: target name to its type and shape.
    """

    sequences: Ragged
    second_starts: np.ndarray
    targets: Mapping[str, Values]
    features: Mapping[str, np.ndarray]
    examples: np.ndarray
    records: np.ndarray | None
    num_tokens: np.ndarray
    num_text_tokens: np.ndarray
    num_unknown_tokens: np.ndarray
    warnings: dict[str, list[str]]
    special: SpecialTokens
    target_specs: Mapping[str, Target]

    def __len__(self) -> int:
        return len(self.examples) - 1

    @property
    def num_sequences(self) -> int:
        """The number of sequences of all examples."""
        return len(self.sequences)

    def lengths(self) -> np.ndarray:
        """Return the length in tokens of the longest sequence of each example: int64 `(num_examples,)`."""
        return np.maximum.reduceat(self.sequences.lengths(), self.examples[:-1])

    def token_ids(self) -> np.ndarray:
        """Return the distinct token ids in batches of this split, including padding, in ascending order."""
        ids = np.asarray([self.special.padding])
        for start in range(0, len(self.sequences.values), _CHUNK_TOKENS):
            ids = np.union1d(ids, self.sequences.values[start : start + _CHUNK_TOKENS])
        return ids

    def sequences_of(self, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of the sequences of the given examples, and for each the position of its example."""
        counts = self.examples[examples + 1] - self.examples[examples]
        position = np.repeat(np.arange(len(examples)), counts)
        within_example = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.examples[examples][position] + within_example, position

    def head(self, num_examples: int) -> "TokenizedSplit":
        """Return the first examples of the split."""
        num_sequences = self.examples[num_examples]
        return replace(
            self,
            sequences=self.sequences.head(num_sequences),
            second_starts=self.second_starts[:num_sequences],
            targets={name: head(values, num_sequences) for name, values in self.targets.items()},
            features={name: values[:num_sequences] for name, values in self.features.items()},
            examples=self.examples[: num_examples + 1],
            records=None,
        )

    def take(self, sequences: np.ndarray, examples: np.ndarray) -> "TokenizedSplit":
        """Return a split with other examples, which consist of sequences of this split.

        Args:
            sequences: int64 `(num_new_sequences,)`, indices of sequences of this split.
            examples: the attribute `examples` of the new split.
        """
        return replace(
            self,
            sequences=self.sequences.take(sequences),
            second_starts=self.second_starts[sequences],
            targets={name: take(values, sequences) for name, values in self.targets.items()},
            features={name: values[sequences] for name, values in self.features.items()},
            examples=examples,
            records=None,
        )

    @classmethod
    def concatenated(cls, splits: Sequence["TokenizedSplit"]) -> "TokenizedSplit":
        """Return a split with the examples of several splits of one task, one after the other."""
        first = splits[0]
        num_sequences = np.concatenate([np.diff(split.examples) for split in splits])
        return replace(
            first,
            sequences=concatenated([split.sequences for split in splits]),
            second_starts=concatenated([split.second_starts for split in splits]),
            targets={name: concatenated([split.targets[name] for split in splits]) for name in first.targets},
            features={name: concatenated([split.features[name] for split in splits]) for name in first.features},
            examples=np.concatenate([[0], np.cumsum(num_sequences)]),
            records=None,
        )


def tokenize(records: Iterable[Record], recipe: Recipe, cache_dir: Path) -> TokenizedSplit:
    """Return a tokenized split, from the cache or by tokenizing the records in one streaming pass.

    Args:
        records: the records; read in chunks, and not read on a cache hit.
        recipe: the conversion of records to sequences and targets.
        cache_dir: the directory with one subdirectory per tokenized split; created if missing.

    Returns:
        The split; its token ids are memory-mapped from `cache_dir`.
    """
    fingerprint = recipe.fingerprint()
    entry = cache_dir / fingerprint
    if not entry.is_dir():
        cache_dir.mkdir(parents=True, exist_ok=True)
        temporary_dir = Path(tempfile.mkdtemp(prefix=f"{fingerprint}.", dir=cache_dir))
        try:
            _write(records, recipe, temporary_dir)
            os.rename(temporary_dir, entry)
        except OSError:
            # Another process may have finished the same split first; the results are equal.
            if not entry.is_dir():
                raise
        finally:
            shutil.rmtree(temporary_dir, ignore_errors=True)
        _remove_unused(cache_dir)
    os.utime(entry)
    return _read(entry, recipe)


def _read(entry: Path, recipe: Recipe) -> TokenizedSplit:
    arrays = dict(np.load(entry / "arrays.npz"))
    dtype, size = _id_dtype(recipe), arrays["starts"][-1]
    ids = np.memmap(entry / "tokens.bin", dtype=dtype, mode="r", shape=(size,)) if size else np.zeros(0, dtype)
    targets: dict[str, Values] = {}
    for name, target in recipe.targets.items():
        values = arrays[f"target {name}"]
        if target.is_ragged:
            # Per-token targets have the lengths of the sequences, so their starts are not stored separately.
            starts = arrays["starts"] if target.per_token else arrays[f"starts {name}"]
            targets[name] = Ragged(values, starts)
        else:
            targets[name] = values
    return TokenizedSplit(
        sequences=Ragged(ids, arrays["starts"]),
        second_starts=arrays["second_starts"],
        targets=targets,
        features={name.split(" ", 1)[1]: values for name, values in arrays.items() if name.startswith("feature ")},
        examples=arrays["records"] if recipe.by_record else np.arange(len(arrays["starts"])),
        records=arrays["records"],
        num_tokens=arrays["num_tokens"],
        num_text_tokens=arrays["num_text_tokens"],
        num_unknown_tokens=arrays["num_unknown_tokens"],
        warnings=read_json(entry / "warnings.json"),
        special=recipe.preprocessor.special,
        target_specs=recipe.targets,
    )


def _remove_unused(cache_dir: Path) -> None:
    oldest = time.time() - _MAX_UNUSED_SECONDS
    for entry in cache_dir.iterdir():
        # Another process may be removing the same entry.
        with contextlib.suppress(FileNotFoundError):
            if entry.stat().st_mtime < oldest:
                shutil.rmtree(entry, ignore_errors=True)


def _id_dtype(recipe: Recipe) -> type:
    return np.uint16 if len(recipe.preprocessor.tokenizer.vocabulary) <= 2**16 else np.int32


def _write(records: Iterable[Record], recipe: Recipe, directory: Path) -> None:
    lengths, second_starts, num_sequences, num_tokens = [], [], [0], []
    targets: dict[str, list] = {name: [] for name in recipe.targets}
    features: dict[str, list] = {}
    counts = np.zeros(2, np.int64)
    warnings: dict[str, list[str]] = {}
    with open(directory / "tokens.bin", "wb") as stream:
        for chunk in chunks(records, recipe):
            counts += chunk.num_text_tokens.sum(), chunk.num_unknown_tokens
            num_tokens.append(chunk.num_text_tokens + 1 + chunk.num_texts)
            for index, record in enumerate(chunk.records):
                warn = partial(_add_warning, warnings, record.where)
                record_targets = recipe.targets_of(record, chunk.sequences_of(index), warn)
                first = chunk.first_sequences[index]
                kept = [first + i for i, target in enumerate(record_targets) if target is not None]
                for name, values in targets.items():
                    dtype = recipe.targets[name].dtype
                    values += [np.asarray(target[name], dtype) for target in record_targets if target is not None]
                for sequence in kept:
                    ids = chunk.token_ids[sequence]
                    stream.write(ids.astype(_id_dtype(recipe)).tobytes())
                    lengths.append(len(ids))
                second_starts += chunk.second_starts[kept].tolist()
                for name, values in chunk.features.items():
                    features.setdefault(name, []).append(values[kept])
                num_sequences.append(len(lengths))
    stored = {
        "starts": np.cumsum([0, *lengths]).astype(np.int64),
        "second_starts": np.asarray(second_starts, np.int32),
        "records": np.asarray(num_sequences, np.int64),
        "num_tokens": np.concatenate(num_tokens).astype(np.int64),
        "num_text_tokens": counts[0],
        "num_unknown_tokens": counts[1],
    }
    for name, values in targets.items():
        if recipe.targets[name].is_ragged:
            stored[f"target {name}"] = np.concatenate(values) if values else np.zeros(0, recipe.targets[name].dtype)
            stored[f"starts {name}"] = np.cumsum([0, *map(len, values)]).astype(np.int64)
        else:
            stored[f"target {name}"] = np.asarray(values)
    stored |= {f"feature {name}": np.concatenate(values) for name, values in features.items()}
    np.savez(directory / "arrays.npz", **stored)
    write_json(directory / "warnings.json", warnings)


def _add_warning(warnings: dict[str, list[str]], record_where: str, message: str, where: str | None = None) -> None:
    warnings.setdefault(message, []).append(record_where if where is None else where)


def chunks(records: Iterable[Record], recipe: Recipe) -> Iterator[Chunk]:
    """Yield tokenized chunks of records, because tokenizing many texts at once costs far less per text."""
    stream = iter(records)
    while chunk := list(itertools.islice(stream, _CHUNK_RECORDS)):
        items = [recipe.inputs_of(record) for record in chunk]
        sequences = recipe.sequences(batch_of(items, recipe.specs))
        yield Chunk(chunk, sequences, recipe.preprocessor.special.unknown)
