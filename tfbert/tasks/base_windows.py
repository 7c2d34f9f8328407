"""What tasks share that read long texts in windows."""

from collections.abc import Callable, Mapping

import tensorflow as tf

# Tokens that go through the encoder at once, padding included: enough to keep all cores busy, and small enough that a
# text of any length fits into memory.
PART_TOKENS = 16384


def in_parts(
    logits: Callable[[Mapping[str, tf.Tensor]], tf.Tensor],
    packed: Mapping[str, tf.Tensor],
    num_channels: int,
    part_tokens: int = PART_TOKENS,
) -> tf.Tensor:
    """Return what `logits` gives for packed rows, some after others, so that memory does not grow with their number.

    Args:
        logits: packed rows to float32 `(rows, length, num_channels)`.
        packed: `token_ids`, `segment_ids`, `padding_mask`: int32 `(rows, length)`, at least one row.
        num_channels: logits a token.
        part_tokens: at once at most, but one row at least.
    """
    num_rows, length = tf.unstack(tf.shape(packed["token_ids"]))
    size = tf.maximum(1, part_tokens // length)
    num_parts = -(-num_rows // size)
    found = tf.TensorArray(tf.float32, num_parts, infer_shape=False)

    def step(part: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        rows = {name: values[part * size : (part + 1) * size] for name, values in packed.items()}
        return part + 1, found.write(part, logits(rows))

    _, found = tf.while_loop(lambda part, _: part < num_parts, step, (0, found), parallel_iterations=1)
    joined = found.concat()
    joined.set_shape([None, None, num_channels])
    return joined
