"""Batches of a tokenized split: planned from lengths alone, the same under a seed, made in the background.

A plan can be cut at any batch, which is what lets a killed training continue exactly where it stopped.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.text.datasets import TokenizedSplit
from tfbert.text.preprocessor import dense_batch, padded_length
from tfbert.text.ragged import Ragged

# How many batches are sorted by length together. More means less padding and less mixing.
_POOL_BATCHES = 50
# Batches without gradients have about this many tokens, padding included.
EVALUATION_BATCH_TOKENS = 8192


def plan_training(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Return one epoch's batches as arrays of example indices, each example once, similar lengths together.

    Args:
        lengths: tokens of each example.
        batch_size: examples in a batch; the last one may be smaller.
        seed: the random seed.
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


def micro_batches(
    indices: np.ndarray, lengths: np.ndarray, num_sequences: np.ndarray, max_tokens: int
) -> list[np.ndarray]:
    """Return a batch in as few parts of similar size as have at most `max_tokens` tokens each.

    Args:
        indices: the examples of the batch, similar lengths together.
        lengths: tokens of the longest sequence of each example.
        num_sequences: sequences of each example.
        max_tokens: most tokens of a part, padding included; a part of one example may have more. 0 leaves the batch
            whole.
    """

    def padded(part: np.ndarray) -> int:
        return int(num_sequences[part].sum() * lengths[part].max())

    count = 1
    while max_tokens and count < len(indices) and max(map(padded, np.array_split(indices, count))) > max_tokens:
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
        split: the examples that the plan's indices refer to.
        plan: arrays of example indices.
        sequence_length: the longest sequence in tokens.
        weights: float32 weight of each example; `None` means 1 each.
        vectors: float32 `(num_sequences, size)` of all sequences of the split, where a head learns from these; `None`
            means tokens.

    Returns:
        Dicts of int32 `token_ids`, `segment_ids`, `padding_mask` `(sequences, length)`; the targets and the features by
        name, `(sequences, ...)`; int32 `example` `(sequences,)`, the example of this batch that a sequence belongs to;
        and float32 `weights` `(examples,)`. With `vectors` the first three give way to `vectors` `(sequences, size)`.
    """
    ragged = [name for name, values in split.targets.items() if isinstance(values, Ragged)]
    dense = {name: values for name, values in split.targets.items() if name not in ragged} | dict(split.features)

    def generate():
        for indices in plan:
            sequences, example = split.sequences_of(indices)
            batch = {name: values[sequences] for name, values in dense.items()}
            batch["example"] = example.astype(np.int32)
            batch["weights"] = np.ones(len(indices), np.float32) if weights is None else weights[indices]
            if vectors is not None:
                batch["vectors"] = vectors[sequences]
            else:
                ids = split.sequences.take(sequences)
                batch["second_starts"] = split.second_starts[sequences]
                batch["token_ids"] = ids.values.astype(np.int32)
                batch["starts"] = ids.starts
                for name in ragged:
                    values = split.targets[name].take(sequences)
                    batch |= {name: values.values, f"{name} starts": values.starts}
            yield batch

    signature = {name: tf.TensorSpec([None, *values.shape[1:]], values.dtype) for name, values in dense.items()}
    signature |= {"example": tf.TensorSpec([None], tf.int32), "weights": tf.TensorSpec([None], tf.float32)}
    if vectors is not None:
        signature["vectors"] = tf.TensorSpec([None, vectors.shape[1]], tf.float32)
        return made_ahead(generate, signature, 2)
    signature |= dict.fromkeys(("second_starts", "token_ids"), tf.TensorSpec([None], tf.int32))
    signature["starts"] = tf.TensorSpec([None], tf.int64)
    for name in ragged:
        signature |= {name: tf.TensorSpec([None], split.targets[name].values.dtype)}
        signature |= {f"{name} starts": tf.TensorSpec([None], tf.int64)}
    return made_ahead(generate, signature, 2, lambda batch: _padded(batch, split, sequence_length))


def _padded(batch: dict[str, tf.Tensor], split: TokenizedSplit, sequence_length: int) -> dict[str, tf.Tensor]:
    """Return a batch whose tokens and ragged targets are padded to a common length."""
    batch = dict(batch)
    token_ids = tf.RaggedTensor.from_row_splits(batch.pop("token_ids"), batch.pop("starts"), validate=False)
    longest = tf.reduce_max(token_ids.row_lengths())
    # On a GPU a multiple of 8, as far as the sequence length allows it.
    length = tf.maximum(longest, tf.minimum(padded_length(longest), tf.cast(sequence_length, tf.int64)))
    packed = dense_batch(token_ids, batch.pop("second_starts"), split.special.padding, length)
    packed = {name: tf.ensure_shape(values, [None, None]) for name, values in packed.items()}
    for name, target in split.target_specs.items():
        if target.is_ragged:
            values = tf.RaggedTensor.from_row_splits(batch[name], batch.pop(f"{name} starts"), validate=False)
            shape = tf.stack([-1, length]) if target.per_token else None
            batch[name] = tf.ensure_shape(values.to_tensor(target.padding, shape=shape), [None, None])
    return batch | packed


def made_ahead(
    generate: Callable[[], Iterable[Any]],
    signature: Any,
    number: int,
    finish: Callable[[Any], Any] | None = None,
) -> tf.data.Dataset:
    """Return what a function yields, made in another thread while the previous items are used.

    Args:
        generate: called for every pass.
        signature: `tf.TensorSpec`s of what it yields.
        number: how many items are made ahead.
        finish: applied to each item in the graph; `None` leaves them as they are.
    """
    options = tf.data.Options()
    # There is nothing to tune, and the end of every pass would wait for the tuner's thread, which sleeps longer each
    # time.
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    dataset = dataset if finish is None else dataset.map(finish)
    return dataset.prefetch(number).with_options(options)
