"""Checks in the graph of an export: a server answers impossible inputs with INVALID_ARGUMENT, and never with NaN.

A server does not compare inputs with the shapes of a signature, and a model computes something of almost anything: NaN
of a row without tokens, another token of a negative id. All ops here are among TensorFlow's core.
"""

from collections.abc import Callable

import tensorflow as tf

from tfbert.text.preprocessor import INPUTS


def with_checked_rows(
    answer: Callable[..., dict], vocabulary_size: int, num_segments: int, max_length: int
) -> tf.function:
    """Return a function that refuses rows that are none, and answers the others as `answer` does.

    Args:
        answer: takes `token_ids`, `segment_ids` and `padding_mask`, int32 `(rows, length)`.
        vocabulary_size: of the encoder's embeddings.
        num_segments: likewise.
        max_length: the most tokens that the encoder has positions for.
    """

    def checked(token_ids: tf.Tensor, segment_ids: tf.Tensor, padding_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = token_ids, segment_ids, padding_mask
        token_ids, segment_ids, padding_mask = (tf.ensure_shape(each, [None, None]) for each in rows)
        shapes = [tf.shape(each) for each in (token_ids, segment_ids, padding_mask)]
        is_token = tf.reduce_any(tf.equal(padding_mask, 1), axis=1)
        checks = {
            "token_ids, segment_ids and padding_mask must have the same shape, (rows, tokens)": tf.logical_and(
                tf.reduce_all(tf.equal(shapes[0], shapes[1])), tf.reduce_all(tf.equal(shapes[0], shapes[2]))
            ),
            f"token_ids must have at most {max_length} tokens in a row": shapes[0][1] <= max_length,
            f"token_ids must be from 0 to {vocabulary_size - 1}": _is_within(token_ids, vocabulary_size),
            f"segment_ids must be from 0 to {num_segments - 1}": _is_within(segment_ids, num_segments),
            "padding_mask must be 0 or 1": _is_within(padding_mask, 2),
            "padding_mask must have at least one 1 in each row": tf.reduce_all(is_token),
        }
        asserted = [
            tf.raw_ops.Assert(condition=condition, data=[message], summarize=1) for message, condition in checks.items()
        ]
        # Nothing is computed, and nothing else can fail, before all of it is known to be right. The model reads the
        # rows themselves: behind `ensure_shape` TensorFlow would add in another order, and round otherwise.
        with tf.control_dependencies(asserted):
            return answer(*(tf.identity(each) for each in rows))

    matrix = [tf.TensorSpec([None, None], tf.int32, name=name) for name in INPUTS]
    return tf.function(checked, input_signature=matrix)


def _is_within(values: tf.Tensor, end: int) -> tf.Tensor:
    """Return whether all values are 0 or more and below an end."""
    return tf.reduce_all(tf.logical_and(values >= 0, values < end))
