"""Tokenized splits: records as token sequences and targets, computed once and kept on disk."""

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
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.files import read_json, write_json
from tfbert.text.inputs import Item, batch_of
from tfbert.text.preprocessor import Preprocessor, Sequences
from tfbert.text.ragged import Ragged, Values, head, take
from tfbert.text.record_sequences import Chunk, RecordSequences
from tfbert.text.records import Record
from tfbert.text.tokenizer import SpecialTokens

# Part of the cache key: raise it when the same text would give other ids, or when other arrays are stored.
_TOKENIZATION_VERSION = 4
_CHUNK_RECORDS = 2048
# Tokens of a split that are looked at together, where there may be more than memory holds.
_CHUNK_TOKENS = 2**22
# Tokenized splits that nobody opened for 30 days make room.
_KEPT_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True)
class Target:
    """What is learned of each sequence, under one name.

    Args:
        dtype: NumPy's name of the type.
        shape: of one sequence's target; `(None,)` for a vector whose length differs.
        per_token: whether there is one value for each token of the sequence, special tokens included.
        padding: fills up vectors of differing lengths.
    """

    dtype: str
    shape: tuple[int | None, ...] = ()
    per_token: bool = False
    padding: int = -1

    @property
    def is_ragged(self) -> bool:
        """Whether sequences have targets of different lengths."""
        return self.per_token or self.shape == (None,)


# Called with a remark on a record, such as that a part of it cannot be learned, and optionally its place.
Warn = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the records of a split become sequences and targets.

    Args:
        preprocessor: used by `sequences`.
        inputs_of: the inputs of a record.
        specs: the tensors of these inputs, by name.
        sequences: the sequences of a batch of inputs.
        targets_of: the targets of each sequence of a record by name; `None` for a sequence that is not learned from.
        targets: what these targets are.
        by_record: whether all sequences of a record belong to one example.
        key: strings that identify the records and everything that decides what is made of them.
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
        """Return 32 hex digits that change with anything that decides the tokenized split."""
        tokenizer = self.preprocessor.tokenizer
        rules = [_TOKENIZATION_VERSION, *tokenizer.rules]
        targets = {name: [target.dtype, target.shape, target.per_token] for name, target in self.targets.items()}
        text = json.dumps([rules, targets, self.by_record, tokenizer.vocabulary, list(self.key)])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class TokenizedSplit:
    """A split as integers. An example, which batches are made of, is one sequence or all sequences of a record.

    Args:
        sequences: token ids with special tokens, memory-mapped uint16 or int32.
        second_starts: int32 `(num_sequences,)`, position of the second segment in each sequence.
        targets: what is learned of each sequence, by name: arrays `(num_sequences, ...)` or ragged.
        features: numbers that the head reads beside the tokens, by name: `(num_sequences, ...)`.
        examples: int64 `(num_examples + 1,)`, the first sequence of each example.
        num_tokens: int64 `(num_records,)`, tokens of each record before anything was cut, special tokens included.
        num_text_tokens: int64 `()`, tokens of all texts before anything was cut, special tokens excluded.
        num_unknown_tokens: int64 `()`, how many of these are [UNK].
        remarks: remarks on records, each with the places of the records.
        special: ids of the special tokens.
        target_specs: what the targets are.
    """

    sequences: Ragged
    second_starts: np.ndarray
    targets: Mapping[str, Values]
    features: Mapping[str, np.ndarray]
    examples: np.ndarray
    num_tokens: np.ndarray
    num_text_tokens: np.ndarray
    num_unknown_tokens: np.ndarray
    remarks: dict[str, list[str]]
    special: SpecialTokens
    target_specs: Mapping[str, Target]

    def __len__(self) -> int:
        return len(self.examples) - 1

    @property
    def num_sequences(self) -> int:
        """The number of sequences of all examples."""
        return len(self.sequences)

    def lengths(self) -> np.ndarray:
        """Return the tokens of the longest sequence of each example: int64 `(num_examples,)`."""
        return np.maximum.reduceat(self.sequences.lengths(), self.examples[:-1])

    def token_ids(self) -> np.ndarray:
        """Return the ids of all tokens that batches of this split have, padding included, each once and sorted."""
        ids = np.asarray([self.special.padding])
        for start in range(0, len(self.sequences.values), _CHUNK_TOKENS):
            ids = np.union1d(ids, self.sequences.values[start : start + _CHUNK_TOKENS])
        return ids

    def sequences_of(self, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the sequences of some examples in order, and for each the position of its example among them."""
        counts = self.examples[examples + 1] - self.examples[examples]
        position = np.repeat(np.arange(len(examples)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.examples[examples][position] + within, position

    def head(self, num_examples: int) -> "TokenizedSplit":
        """Return the first examples of the split."""
        number = self.examples[num_examples]
        return replace(
            self,
            sequences=self.sequences.head(number),
            second_starts=self.second_starts[:number],
            targets={name: head(values, number) for name, values in self.targets.items()},
            features={name: values[:number] for name, values in self.features.items()},
            examples=self.examples[: num_examples + 1],
        )

    def take(self, sequences: np.ndarray, examples: np.ndarray) -> "TokenizedSplit":
        """Return a split of other examples.

        Args:
            sequences: the sequence of this split that each of the new ones is.
            examples: the first of the new sequences of each example, as the attribute.
        """
        return replace(
            self,
            sequences=self.sequences.take(sequences),
            second_starts=self.second_starts[sequences],
            targets={name: take(values, sequences) for name, values in self.targets.items()},
            features={name: values[sequences] for name, values in self.features.items()},
            examples=examples,
        )


def tokenize(records: Iterable[Record], recipe: Recipe, cache_dir: Path) -> TokenizedSplit:
    """Tokenize a split in one streaming pass, or open what an earlier run left.

    Args:
        records: read once, in chunks; never held in memory as a whole.
        recipe: how records become sequences and targets.
        cache_dir: holds one directory for each tokenized split; made if missing.

    Returns:
        The split, memory-mapped from `cache_dir`.
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
            # Another process may have finished the same split first; its result is as good.
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
            # Values of tokens begin where the tokens do.
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
        num_tokens=arrays["num_tokens"],
        num_text_tokens=arrays["num_text_tokens"],
        num_unknown_tokens=arrays["num_unknown_tokens"],
        remarks=read_json(entry / "remarks.json"),
        special=recipe.preprocessor.special,
        target_specs=recipe.targets,
    )


def _remove_unused(cache_dir: Path) -> None:
    oldest = time.time() - _KEPT_SECONDS
    for entry in cache_dir.iterdir():
        # Another process may be removing the same.
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
    remarks: dict[str, list[str]] = {}
    with open(directory / "tokens.bin", "wb") as stream:
        for chunk in _chunks(records, recipe):
            counts += chunk.num_text_tokens.sum(), chunk.num_unknown_tokens
            num_tokens.append(chunk.num_text_tokens + 1 + chunk.num_texts)
            for index, record in enumerate(chunk.records):
                warn = _Remarks(remarks, record.where)
                learned = recipe.targets_of(record, chunk.sequences_of(index), warn)
                first = chunk.first_sequences[index]
                kept = [first + at for at, each in enumerate(learned) if each is not None]
                for name, values in targets.items():
                    dtype = recipe.targets[name].dtype
                    values += [np.asarray(each[name], dtype) for each in learned if each is not None]
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
    write_json(directory / "remarks.json", remarks)


class _Remarks:
    """Collects remarks on one record."""

    def __init__(self, remarks: dict[str, list[str]], where: str):
        self._remarks, self._where = remarks, where

    def __call__(self, remark: str, place: str | None = None) -> None:
        self._remarks.setdefault(remark, []).append(self._where if place is None else place)


def _chunks(records: Iterable[Record], recipe: Recipe) -> Iterator[Chunk]:
    """Yield records in chunks; tokenizing many together saves most of its cost."""
    stream = iter(records)
    while chunk := list(itertools.islice(stream, _CHUNK_RECORDS)):
        items = [recipe.inputs_of(record) for record in chunk]
        sequences = recipe.sequences(batch_of(items, recipe.specs))
        yield Chunk(chunk, sequences, recipe.preprocessor.special.unknown)
