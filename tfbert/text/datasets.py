"""Tokenized splits in, `tf.data` batches out: token ids once on disk, batches of like length, the same under a seed.

Batches are planned on the host from lengths alone. A plan can be cut at any batch, which is what lets a killed
training go on exactly where it was.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfbert.text.packing import pack_rows
from tfbert.text.records import Record
from tfbert.text.tokenizer import SpecialTokens, Tokenizer

# Part of the cache key: raise it when the same text would give other ids.
_TOKENIZATION_VERSION = 1
_CHUNK_RECORDS = 2048
# Tokenized splits that nobody opened for 30 days make room.
_KEPT_SECONDS = 30 * 24 * 3600
# How many batches are sorted by length together. More means less padding and less mixing.
_POOL_BATCHES = 50


@dataclass(frozen=True)
class TokenizedSplit:
    """A split as integers.

    Args:
        flat: token ids of all examples end to end, without special tokens; memory-mapped uint16 or int32.
        starts: int64 `(num_examples + 1,)`, where each example begins in `flat`.
        targets: what the task learns, `(num_examples, ...)`.
        special: ids of the special tokens.
    """

    flat: np.ndarray
    starts: np.ndarray
    targets: np.ndarray
    special: SpecialTokens

    def __len__(self) -> int:
        return len(self.starts) - 1

    def lengths(self) -> np.ndarray:
        """Return the tokens of every example before cutting, [CLS] and [SEP] included: int64 `(num_examples,)`."""
        return np.diff(self.starts) + 2

    def subset(self, indices: np.ndarray) -> "TokenizedSplit":
        """Return a split of these examples in this order, held in memory."""
        rows = [self.row(index) for index in indices]
        starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        return TokenizedSplit(np.concatenate(rows), starts, self.targets[indices], self.special)

    def row(self, index: int) -> np.ndarray:
        """Return the token ids of one example."""
        return self.flat[self.starts[index] : self.starts[index + 1]]


def tokenize(
    records: Iterable[Record],
    tokenizer: Tokenizer,
    target: Callable[[Record], int | float],
    cache_key: Sequence[str],
    cache_dir: Path,
) -> TokenizedSplit:
    """Tokenize a split in one streaming pass, or open what an earlier run left.

    Args:
        records: read once, in chunks; never held in memory as a whole.
        tokenizer: text to ids.
        target: a record's target.
        cache_key: strings that identify the records and the targets, such as the files' hashes and the labels.
        cache_dir: holds one directory a tokenized split; made if missing.

    Returns:
        The split, memory-mapped from `cache_dir`.
    """
    facts = [_TOKENIZATION_VERSION, tokenizer.lowercase, tokenizer.strip_accents, tokenizer.split_on_cjk]
    digest = hashlib.sha256(json.dumps([facts, tokenizer.vocabulary, list(cache_key)]).encode()).hexdigest()[:32]
    entry = cache_dir / digest
    if not entry.is_dir():
        cache_dir.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f"{digest}.", dir=cache_dir))
        try:
            _write(records, tokenizer, target, aside)
            os.rename(aside, entry)
        except OSError:
            # Another process may have finished the same split first; its result is as good.
            if not entry.is_dir():
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        _remove_unused(cache_dir)
    os.utime(entry)
    starts = np.load(entry / "starts.npy")
    dtype = _id_dtype(tokenizer)
    size = starts[-1]
    flat = np.memmap(entry / "tokens.bin", dtype=dtype, mode="r", shape=(size,)) if size else np.zeros(0, dtype)
    return TokenizedSplit(flat, starts, np.load(entry / "targets.npy"), tokenizer.special)


def plan_training(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Return one epoch's batches as arrays of example indices, each example once, like lengths together.

    Args:
        lengths: tokens by example.
        batch_size: examples a batch; the last one may be smaller.
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


def plan_evaluation(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Return batches of example indices, longest first, so that memory is at its peak at once and not at the end."""
    order = np.argsort(-lengths, kind="stable")
    return [order[index : index + batch_size] for index in range(0, len(order), batch_size)]


def batches(
    split: TokenizedSplit, plan: Sequence[np.ndarray], sequence_length: int, weights: np.ndarray | None = None
) -> tf.data.Dataset:
    """Return packed batches in the order of `plan`.

    Args:
        split: what the plan's indices point into.
        plan: arrays of example indices.
        sequence_length: longest row in tokens.
        weights: float32 weight by example; `None` means 1 each.

    Returns:
        Dicts of int32 `token_ids`, `segment_ids`, `padding_mask` `(batch, length)`, `targets` `(batch, ...)` and
        float32 `weights` `(batch,)`; `length` is a multiple of 8 no longer than the longest row needs.
    """

    def generate():
        for indices in plan:
            batch = pack_rows([split.row(index) for index in indices], split.special, sequence_length)
            batch["targets"] = split.targets[indices]
            batch["weights"] = np.ones(len(indices), np.float32) if weights is None else weights[indices]
            yield batch

    matrix = tf.TensorSpec([None, None], tf.int32)
    signature = {
        "token_ids": matrix,
        "segment_ids": matrix,
        "padding_mask": matrix,
        "targets": tf.TensorSpec([None, *split.targets.shape[1:]], split.targets.dtype),
        "weights": tf.TensorSpec([None], tf.float32),
    }
    return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(2)


def _remove_unused(cache_dir: Path) -> None:
    oldest = time.time() - _KEPT_SECONDS
    for entry in cache_dir.iterdir():
        # Another process may be removing the same.
        with contextlib.suppress(FileNotFoundError):
            if entry.stat().st_mtime < oldest:
                shutil.rmtree(entry, ignore_errors=True)


def _id_dtype(tokenizer: Tokenizer) -> type:
    return np.uint16 if len(tokenizer.vocabulary) <= 2**16 else np.int32


def _write(records: Iterable[Record], tokenizer: Tokenizer, target: Callable, directory: Path) -> None:
    lengths: list[np.ndarray] = []
    targets: list = []
    chunk: list[str] = []
    with open(directory / "tokens.bin", "wb") as stream:

        def flush():
            ragged = tokenizer(tf.constant([text.encode("utf-8", "replace") for text in chunk]))
            stream.write(ragged.flat_values.numpy().astype(_id_dtype(tokenizer)).tobytes())
            lengths.append(ragged.row_lengths().numpy())
            chunk.clear()

        for record in records:
            chunk.append(record.text)
            targets.append(target(record))
            if len(chunk) == _CHUNK_RECORDS:
                flush()
        if chunk:
            flush()
    starts = np.concatenate([[0], np.cumsum(np.concatenate([*lengths, [0]]))[: len(targets)]]).astype(np.int64)
    np.save(directory / "starts.npy", starts)
    np.save(directory / "targets.npy", np.asarray(targets))
