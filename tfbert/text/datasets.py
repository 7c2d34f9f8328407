"""Tokenized splits in, `tf.data` batches out: token ids once on disk, batches of like length, the same under a seed.

Batches are planned on the host from lengths alone. A plan can be cut at any batch, which is what lets a killed
training go on exactly where it was.
"""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.files import read_json, write_json
from tfbert.text.packing import INPUTS, pad_rows
from tfbert.text.records import Record
from tfbert.text.tokenizer import SpecialTokens, Tokenizer

# Part of the cache key: raise it when the same text would give other ids, or when other arrays are stored.
_TOKENIZATION_VERSION = 3
_CHUNK_RECORDS = 2048
# Tokens of a split that are looked at together, where there may be more than memory holds.
_CHUNK_TOKENS = 2**22
# Tokenized splits that nobody opened for 30 days make room.
_KEPT_SECONDS = 30 * 24 * 3600
# How many batches are sorted by length together. More means less padding and less mixing.
_POOL_BATCHES = 50


@dataclass(frozen=True)
class Tokens:
    """One text as token ids, without special tokens.

    Args:
        ids: int32 `(tokens,)`.
        starts: int32 `(tokens,)`, first character of each token in the text; `None` where offsets were not wanted.
        ends: likewise, behind the last character.
    """

    ids: np.ndarray
    starts: np.ndarray | None = None
    ends: np.ndarray | None = None


@dataclass(frozen=True)
class Example:
    """One row to learn from.

    Args:
        token_ids: with special tokens, no longer than the sequence length.
        second: where the second segment begins; behind the row if there is none.
        target: what the task learns of this row: a number, an array of a fixed shape, or one value a token.
    """

    token_ids: np.ndarray
    second: int
    target: Any


# What makes the rows of a record out of its tokenized texts. The last argument is called with what is to be said of
# the record, such as that a part of it cannot be learned.
MakeExamples = Callable[[Record, Sequence[Tokens], Callable[[str], None]], Iterable[Example]]


@dataclass(frozen=True)
class TokenizedSplit:
    """A split as integers. A record is one row or several: windows of a long text, or choices.

    Args:
        flat: token ids of all rows end to end, with special tokens; memory-mapped uint16 or int32.
        starts: int64 `(num_rows + 1,)`, where each row begins in `flat`.
        seconds: int32 `(num_rows,)`, where the second segment of each row begins, counted from the row's start.
        targets: what the task learns, `(num_rows, ...)`, or of all tokens in `flat` end to end.
        units: int64 `(num_units + 1,)`, the first row of each unit. Units are what batches are made of: rows, or
            records with all their rows.
        num_tokens: int64 `(num_records,)`, tokens of each record before anything was cut, special ones included.
        num_text_tokens: int64 `()`, tokens of all texts before anything was cut, special ones excluded.
        num_unknown_tokens: int64 `()`, how many of these are [UNK].
        remarks: what was said of records: remark to places.
        special: ids of the special tokens.
        by_token: whether there is a target for every token.
    """

    flat: np.ndarray
    starts: np.ndarray
    seconds: np.ndarray
    targets: np.ndarray
    units: np.ndarray
    num_tokens: np.ndarray
    num_text_tokens: np.ndarray
    num_unknown_tokens: np.ndarray
    remarks: dict[str, list[str]]
    special: SpecialTokens
    by_token: bool = False

    def __len__(self) -> int:
        return len(self.units) - 1

    def lengths(self) -> np.ndarray:
        """Return the tokens of every unit's longest row: int64 `(num_units,)`."""
        return np.maximum.reduceat(np.diff(self.starts), self.units[:-1])

    def row(self, index: int) -> np.ndarray:
        """Return the token ids of one row."""
        return self.flat[self.starts[index] : self.starts[index + 1]]

    def token_ids(self) -> np.ndarray:
        """Return the ids of all tokens that batches of this split have, padding included, each once and sorted."""
        found = np.asarray([self.special.padding])
        for start in range(0, len(self.flat), _CHUNK_TOKENS):
            found = np.union1d(found, self.flat[start : start + _CHUNK_TOKENS])
        return found

    def rows_of(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of some units in their order, and for each the position of its unit among them."""
        counts = self.units[units + 1] - self.units[units]
        position = np.repeat(np.arange(len(units)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.units[units][position] + within, position

    def head(self, num_units: int) -> "TokenizedSplit":
        """Return the split's first units."""
        num_rows = self.units[num_units]
        targets = self.targets[: self.starts[num_rows] if self.by_token else num_rows]
        starts, seconds = self.starts[: num_rows + 1], self.seconds[:num_rows]
        return replace(self, starts=starts, seconds=seconds, targets=targets, units=self.units[: num_units + 1])

    def targets_of(self, rows: np.ndarray, length: int) -> np.ndarray:
        """Return the targets of rows; those of tokens padded to `length` with -1."""
        if not self.by_token:
            return self.targets[rows]
        padded = np.full((len(rows), length), -1, self.targets.dtype)
        for index, row in enumerate(rows):
            part = self.targets[self.starts[row] : self.starts[row + 1]]
            padded[index, : len(part)] = part
        return padded


def tokenize(
    records: Iterable[Record],
    tokenizer: Tokenizer,
    make_examples: MakeExamples,
    cache_key: Sequence[str],
    cache_dir: Path,
    *,
    with_offsets: bool = False,
    by_record: bool = False,
    by_token: bool = False,
) -> TokenizedSplit:
    """Tokenize a split in one streaming pass, or open what an earlier run left.

    Args:
        records: read once, in chunks; never held in memory as a whole.
        tokenizer: text to ids.
        make_examples: a record's rows.
        cache_key: strings that identify the records and what is made of them, such as the files' hashes, the labels
            and the sequence length.
        cache_dir: holds one directory a tokenized split; made if missing.
        with_offsets: whether `make_examples` needs the places of the tokens in the text.
        by_record: whether all rows of a record have to be in one batch.
        by_token: whether a target is one value a token.

    Returns:
        The split, memory-mapped from `cache_dir`.
    """
    facts = [_TOKENIZATION_VERSION, tokenizer.lowercase, tokenizer.strip_accents, tokenizer.split_on_cjk]
    facts += [with_offsets, by_record, by_token]
    digest = hashlib.sha256(json.dumps([facts, tokenizer.vocabulary, list(cache_key)]).encode()).hexdigest()[:32]
    entry = cache_dir / digest
    if not entry.is_dir():
        cache_dir.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f"{digest}.", dir=cache_dir))
        try:
            _write(records, tokenizer, make_examples, aside, with_offsets, by_token)
            os.rename(aside, entry)
        except OSError:
            # Another process may have finished the same split first; its result is as good.
            if not entry.is_dir():
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        _remove_unused(cache_dir)
    os.utime(entry)
    arrays = dict(np.load(entry / "rows.npz"))
    dtype, size = _id_dtype(tokenizer), arrays["starts"][-1]
    flat = np.memmap(entry / "tokens.bin", dtype=dtype, mode="r", shape=(size,)) if size else np.zeros(0, dtype)
    records_at = arrays.pop("records")
    units = records_at if by_record else np.arange(len(arrays["starts"]))
    remarks = read_json(entry / "remarks.json")
    return TokenizedSplit(
        flat=flat, **arrays, units=units, remarks=remarks, special=tokenizer.special, by_token=by_token
    )


def plan_training(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Return one epoch's batches as arrays of unit indices, each unit once, like lengths together.

    Args:
        lengths: tokens by unit.
        batch_size: units a batch; the last one may be smaller.
        seed: of the run.
        epoch: 0-based; every epoch has its own order.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    pool = batch_size * _POOL_BATCHES
    batches = []
    for start in range(0, len(order), pool):
        part = order[start : start + pool]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[index : index + batch_size] for index in range(0, len(part), batch_size)]
    return [batches[index] for index in rng.permutation(len(batches))]


def cut_batch(indices: np.ndarray, lengths: np.ndarray, num_rows: np.ndarray, most_tokens: int) -> list[np.ndarray]:
    """Return a batch in as few parts of like size as have at most so many tokens each, padding included.

    Args:
        indices: of the batch's units, like lengths together.
        lengths: tokens of the longest row, by unit.
        num_rows: by unit.
        most_tokens: of a part; one of a single unit may have more. 0 leaves the batch whole.
    """

    def padded(part: np.ndarray) -> int:
        return int(num_rows[part].sum() * lengths[part].max())

    count = 1
    while most_tokens and count < len(indices) and max(map(padded, np.array_split(indices, count))) > most_tokens:
        count += 1
    return np.array_split(indices, count)


def plan_evaluation(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Return batches of example indices, longest first, so that memory is at its peak at once and not at the end."""
    order = np.argsort(-lengths, kind="stable")
    return [order[index : index + batch_size] for index in range(0, len(order), batch_size)]


def batches(
    split: TokenizedSplit,
    plan: Iterable[np.ndarray],
    sequence_length: int,
    weights: np.ndarray | None = None,
    vectors: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Return packed batches in the order of `plan`.

    Args:
        split: what the plan's indices point into.
        plan: arrays of unit indices.
        sequence_length: longest row in tokens.
        weights: float32 weight by unit; `None` means 1 each.
        vectors: float32 `(num_rows, size)` of all rows of the split, where these are learned from; `None` means tokens.

    Returns:
        Dicts of int32 `token_ids`, `segment_ids`, `padding_mask` `(rows, length)`, `targets` `(rows, ...)`, int32
        `units` `(rows,)`, the unit in this batch that a row is of, and float32 `weights` `(units,)`; `length` is as
        `pad_rows` gives it. With `vectors` the first three give way to `vectors` `(rows, size)`.
    """

    def generate():
        for indices in plan:
            rows, units = split.rows_of(indices)
            if vectors is None:
                at_hand = [split.row(row) for row in rows]
                batch = pad_rows(at_hand, split.seconds[rows], split.special.padding, sequence_length)
                batch["targets"] = split.targets_of(rows, batch["token_ids"].shape[1])
            else:
                batch = {"vectors": vectors[rows], "targets": split.targets[rows]}
            batch["units"] = units.astype(np.int32)
            batch["weights"] = np.ones(len(indices), np.float32) if weights is None else weights[indices]
            yield batch

    if vectors is None:
        read = dict.fromkeys(INPUTS, tf.TensorSpec([None, None], tf.int32))
    else:
        read = {"vectors": tf.TensorSpec([None, vectors.shape[1]], tf.float32)}
    shape = [None, None] if split.by_token else [None, *split.targets.shape[1:]]
    signature = read | {
        "targets": tf.TensorSpec(shape, split.targets.dtype),
        "units": tf.TensorSpec([None], tf.int32),
        "weights": tf.TensorSpec([None], tf.float32),
    }
    return made_ahead(generate, signature, 2)


def made_ahead(generate: Callable[[], Iterable[Any]], signature: Any, number: int) -> tf.data.Dataset:
    """Return what a function yields, made in another thread while what came before is used.

    Args:
        generate: called for every pass over it.
        signature: `tf.TensorSpec`s of what it yields.
        number: of items that are made ahead.
    """
    options = tf.data.Options()
    # There is nothing to tune, and whoever is done would wait for the tuner, which looks ever more seldom.
    options.autotune.enabled = False
    return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(number).with_options(options)


def _remove_unused(cache_dir: Path) -> None:
    oldest = time.time() - _KEPT_SECONDS
    for entry in cache_dir.iterdir():
        # Another process may be removing the same.
        with contextlib.suppress(FileNotFoundError):
            if entry.stat().st_mtime < oldest:
                shutil.rmtree(entry, ignore_errors=True)


def _id_dtype(tokenizer: Tokenizer) -> type:
    return np.uint16 if len(tokenizer.vocabulary) <= 2**16 else np.int32


def _write(
    records: Iterable[Record],
    tokenizer: Tokenizer,
    make_examples: MakeExamples,
    directory: Path,
    with_offsets: bool,
    by_token: bool,
) -> None:
    lengths, seconds, targets, num_rows, num_tokens = [], [], [], [0], []
    counts = np.zeros(2, np.int64)
    remarks: dict[str, list[str]] = {}
    with open(directory / "tokens.bin", "wb") as stream:
        for record, texts in _tokenized(records, tokenizer, with_offsets, counts):
            made = make_examples(
                record, texts, lambda what, place=record.where: remarks.setdefault(what, []).append(place)
            )
            for example in made:
                stream.write(example.token_ids.astype(_id_dtype(tokenizer)).tobytes())
                lengths.append(len(example.token_ids))
                seconds.append(example.second)
                targets.append(example.target)
            num_rows.append(len(lengths))
            num_tokens.append(sum(len(text.ids) for text in texts) + 1 + len(texts))
    np.savez(
        directory / "rows.npz",
        starts=np.cumsum([0, *lengths]).astype(np.int64),
        seconds=np.asarray(seconds, np.int32),
        targets=np.concatenate(targets) if by_token else np.asarray(targets),
        records=np.asarray(num_rows, np.int64),
        num_tokens=np.asarray(num_tokens, np.int64),
        num_text_tokens=counts[0],
        num_unknown_tokens=counts[1],
    )
    write_json(directory / "remarks.json", remarks)


def _tokenized(
    records: Iterable[Record], tokenizer: Tokenizer, with_offsets: bool, counts: np.ndarray
) -> Iterator[tuple[Record, list[Tokens]]]:
    """Yield records with their tokenized texts; tokenizing many at once saves most of its cost.

    Adds the number of tokens, and of unknown ones among them, to `counts`.
    """
    stream = iter(records)
    while chunk := list(itertools.islice(stream, _CHUNK_RECORDS)):
        texts = tf.constant([text.encode("utf-8", "replace") for record in chunk for text in record.texts])
        if with_offsets:
            found = tokenizer.with_offsets(texts)
            parts = [
                (ragged.flat_values.numpy(), ragged.row_splits.numpy())
                for ragged in (found.ids, found.starts, found.ends)
            ]
        else:
            found = tokenizer(texts)
            parts = [(found.flat_values.numpy(), found.row_splits.numpy())]
        ids, _ = parts[0]
        counts += len(ids), np.count_nonzero(ids == tokenizer.special.unknown)
        index = 0
        for record in chunk:
            of_record = []
            for _ in record.texts:
                of_record.append(Tokens(*(flat[splits[index] : splits[index + 1]] for flat, splits in parts)))
                index += 1
            yield record, of_record
