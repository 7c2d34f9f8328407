"""Batches and micro-batches of a tokenized split: planned by length, reproducible, padded and prefetched.

A plan can be resumed at any batch, so a training that was killed continues exactly where it stopped.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tfbert.text.datasets import TokenizedSplit
from tfbert.text.preprocessor import dense_batch, padded_length
from tfbert.text.ragged import Ragged

# Number of batches whose examples are sorted by length together. Larger pools need less padding but mix examples less.
_POOL_BATCHES = 50
# Approximate number of tokens in a batch without gradients, including padding.
EVALUATION_BATCH_TOKENS = 8192


def plan_training(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Return the batches of one epoch as arrays of example indices, with examples of similar length in each batch.

    Args:
        lengths: the number of tokens of each example.
        batch_size: the number of examples in a batch; one batch may be smaller.
        seed: the random seed.
        epoch: the 0-based epoch; every epoch has a different order.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    pool_size = batch_size * _POOL_BATCHES
    batches = []
    for start in range(0, len(order), pool_size):
        pool = order[start : start + pool_size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[index : index + batch_size] for index in range(0, len(pool), batch_size)]
    return [batches[index] for index in rng.permutation(len(batches))]


def micro_batches(
    indices: np.ndarray, lengths: np.ndarray, num_sequences: np.ndarray, max_tokens: int
) -> list[np.ndarray]:
    """Split a batch evenly into the smallest number of micro-batches of at most `max_tokens` tokens each.

    Args:
        indices: the examples of the batch, sorted by length to need little padding.
        lengths: the number of tokens in the longest sequence of each example.
        num_sequences: the number of sequences of each example.
        max_tokens: the maximum number of tokens in a micro-batch, including padding; a micro-batch of a single example
            may exceed it. 0 does not split the batch.
    """

    def padded_tokens(examples: np.ndarray) -> int:
        return int(num_sequences[examples].sum() * lengths[examples].max())

    count = 1
    while max_tokens and count < len(indices) and max(map(padded_tokens, np.array_split(indices, count))) > max_tokens:
        count += 1
    return np.array_split(indices, count)


def plan_evaluation(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Return batches of example indices, longest examples first, so that memory use peaks in the first batch."""
    order = np.argsort(-lengths, kind="stable")
    return [order[index : index + batch_size] for index in range(0, len(order), batch_size)]


def batches(
    split: TokenizedSplit,
    plan: Iterable[np.ndarray],
    sequence_length: int,
    weights: np.ndarray | None = None,
    vectors: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Return padded batches in the order of `plan`.

    Args:
        split: the split to which the indices of the plan refer.
        plan: an array of example indices per batch.
        sequence_length: the maximum length of a sequence in tokens.
        weights: float32 `(num_examples,)`, the weights of all examples of the split; `None` means 1 for each.
        vectors: float32 `(num_sequences, size)`, a vector per sequence of the split for a head that is trained on
            vectors; `None` if it is trained on tokens.

    Returns:
        Dicts of int32 `token_ids`, `segment_ids` and `padding_mask` `(sequences, length)`; the targets and features by
        name, `(sequences, ...)`; int32 `example` `(sequences,)`, the position in the batch of the example to which a
        sequence belongs; and float32 `weights` `(examples,)`. If `vectors` is given, `vectors` `(sequences, size)`
        replaces the first three.
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
        return prefetched(generate, signature, 2)
    signature |= dict.fromkeys(("second_starts", "token_ids"), tf.TensorSpec([None], tf.int32))
    signature["starts"] = tf.TensorSpec([None], tf.int64)
    for name in ragged:
        signature |= {name: tf.TensorSpec([None], split.targets[name].values.dtype)}
        signature |= {f"{name} starts": tf.TensorSpec([None], tf.int64)}
    return prefetched(generate, signature, 2, lambda batch: _padded(batch, split, sequence_length))


def _padded(batch: dict[str, tf.Tensor], split: TokenizedSplit, sequence_length: int) -> dict[str, tf.Tensor]:
    """Pad the token ids and the ragged targets of a batch."""
    batch = dict(batch)
    token_ids = tf.RaggedTensor.from_row_splits(batch.pop("token_ids"), batch.pop("starts"), validate=False)
    longest = tf.reduce_max(token_ids.row_lengths())
    # The multiple of 8 that a GPU needs may exceed the sequence length.
    length = tf.maximum(longest, tf.minimum(padded_length(longest), tf.cast(sequence_length, tf.int64)))
    packed = dense_batch(token_ids, batch.pop("second_starts"), split.special.padding, length)
    packed = {name: tf.ensure_shape(values, [None, None]) for name, values in packed.items()}
    for name, target in split.target_specs.items():
        if target.is_ragged:
            values = tf.RaggedTensor.from_row_splits(batch[name], batch.pop(f"{name} starts"), validate=False)
            shape = tf.stack([-1, length]) if target.per_token else None
            batch[name] = tf.ensure_shape(values.to_tensor(target.padding, shape=shape), [None, None])
    return batch | packed


def prefetched(
    generate: Callable[[], Iterable[Any]],
    signature: Any,
    buffer_size: int,
    transform: Callable[[Any], Any] | None = None,
) -> tf.data.Dataset:
    """Return a dataset of the items of a generator, which are prefetched in another thread.

    Args:
        generate: function that returns a new iterator for every pass.
        signature: the `tf.TensorSpec`s of an item.
        buffer_size: the number of items to prefetch.
        transform: function to apply to each item in the graph; `None` returns the items unchanged.
    """
    options = tf.data.Options()
    # The buffer size is fixed, so autotuning is useless. Each pass would end by waiting for its thread, which sleeps
    # longer each time.
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    dataset = dataset if transform is None else dataset.map(transform)
    return dataset.prefetch(buffer_size).with_options(options)
