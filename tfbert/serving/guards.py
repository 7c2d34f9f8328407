"""Input checks in the graph of an export, so that servers return INVALID_ARGUMENT for invalid inputs, never NaN.

TensorFlow Serving does not compare inputs with the shapes of a signature, and a model computes something for almost any
input: NaN for a sequence without tokens, the embedding of another token for a negative id. All ops used here are among
TensorFlow's core ops.
"""

from collections.abc import Callable, Mapping

import tensorflow as tf
from tensorflow.types.experimental import ConcreteFunction

from tfbert.text.preprocessor import INPUTS


def with_checked_sequences(
    predict: Callable[[Mapping[str, tf.Tensor]], dict],
    specs: Mapping[str, tf.TensorSpec],
    vocabulary_size: int,
    num_segments: int,
    max_length: int,
) -> ConcreteFunction:
    """Return a function that rejects invalid packed sequences and calls `predict` for valid ones.

    Args:
        predict: takes `token_ids`, `segment_ids` and `padding_mask`, int32 `(sequences, length)`, and the features of
            the task, `(sequences, ...)`.
        specs: the tensor specifications of these.
        vocabulary_size: number of token embeddings.
        num_segments: number of segment embeddings.
        max_length: number of positions of the encoder.
    """

    def checked(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        shaped = {name: tf.ensure_shape(values, specs[name].shape) for name, values in inputs.items()}
        token_ids, segment_ids, padding_mask = (shaped.pop(name) for name in INPUTS)
        shapes = [tf.shape(values) for values in (token_ids, segment_ids, padding_mask)]
        has_token = tf.reduce_any(tf.equal(padding_mask, 1), axis=1)
        checks = {
            "token_ids, segment_ids and padding_mask must have the same shape, (sequences, tokens)": tf.logical_and(
                tf.reduce_all(tf.equal(shapes[0], shapes[1])), tf.reduce_all(tf.equal(shapes[0], shapes[2]))
            ),
            f"token_ids must have at most {max_length} tokens per sequence": shapes[0][1] <= max_length,
            f"token_ids must be from 0 to {vocabulary_size - 1}": _is_within(token_ids, vocabulary_size),
            f"segment_ids must be from 0 to {num_segments - 1}": _is_within(segment_ids, num_segments),
            "padding_mask must be 0 or 1": _is_within(padding_mask, 2),
            "padding_mask must have at least one 1 in each sequence": tf.reduce_all(has_token),
        }
        for name, feature in shaped.items():
            checks[f"{name} must have as many rows as token_ids"] = tf.equal(tf.shape(feature)[0], shapes[0][0])
        assertions = [
            tf.raw_ops.Assert(condition=condition, data=[message], summarize=1) for message, condition in checks.items()
        ]
        # No other op runs, or fails, before all checks have passed. The model reads the inputs themselves: after
        # `ensure_shape` TensorFlow would add in another order and round differently.
        with tf.control_dependencies(assertions):
            return predict({name: tf.identity(values) for name, values in inputs.items()})

    return tf.function(checked, autograph=False).get_concrete_function(**specs)


def _is_within(values: tf.Tensor, end: int) -> tf.Tensor:
    """Return whether all values are at least 0 and less than `end`."""
    return tf.reduce_all(tf.logical_and(values >= 0, values < end))
