"""Attention with a hand-written gradient: the values of Keras' attention layer, in fewer passes over memory.

A sequence of 256 tokens has 65,536 attention weights per head. On a CPU, the passes over them take more time than the
matrix products. Keras differentiates every step and draws 32 random bits per weight.
"""

import tensorflow as tf

from tfbert.encoder.elementwise import DropoutState, draw_keep_mask


def attend(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, mask: tf.Tensor | None, dropout: DropoutState
) -> tf.Tensor:
    """Return scaled dot-product attention, with dropout on the attention weights.

    Args:
        query: float `(batch, length, num_heads, head_dim)`.
        key: float `(batch, key_length, num_heads, head_dim)`.
        value: float, the same shape as `key`.
        mask: `(batch, 1 or length, key_length)`, true or nonzero where a query may attend; `None` for everywhere.
        dropout: rate and seed for the attention weights.

    Returns:
        float `(batch, length, num_heads, head_dim)`.

    Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.2.1. The gradient, which avoids the product of
        the dropped weights and their gradients, is from Dao et al. 2022, "FlashAttention", appendix B.4. Ours keeps the
        weights in memory.
    """
    query, key, value = (tf.transpose(projection, [0, 2, 1, 3]) for projection in (query, key, value))
    bias = None
    if mask is not None:
        # The value that Keras uses: large enough to vanish in the softmax, small enough for half precision.
        masked = -3e4 if query.dtype == tf.float16 else -1e9
        bias = tf.where(tf.cast(mask, tf.bool), tf.zeros([], query.dtype), tf.cast(masked, query.dtype))[:, None]
    if dropout.rate:
        attended = _attend_with_dropout(query, key, value, bias, dropout)
    else:
        attended = _weights(query, key, bias) @ value
    return tf.transpose(attended, [0, 2, 1, 3])


def _scale(query: tf.Tensor) -> tf.Tensor:
    return tf.constant(query.shape[-1] ** -0.5, query.dtype)


def _weights(query: tf.Tensor, key: tf.Tensor, bias: tf.Tensor | None) -> tf.Tensor:
    # A product, times a constant, plus a bias: TensorFlow fuses all three into one pass over memory. Scaling the
    # queries instead, which are smaller, would leave two passes.
    scores = tf.matmul(query, key, transpose_b=True) * _scale(query)
    return tf.nn.softmax(scores if bias is None else scores + bias)


def _attend_with_dropout(query, key, value, bias, dropout: DropoutState):
    @tf.custom_gradient
    def attend_and_differentiate(query, key, value):
        weights = _weights(query, key, bias)
        is_kept = draw_keep_mask(tf.shape(weights), dropout)
        zero = tf.zeros([], weights.dtype)
        # Kept weights are scaled up to preserve the mean. The factor is applied to the small tensors, not the weights.
        factor = tf.cast(1 / (1 - dropout.rate), weights.dtype)
        kept = tf.where(is_kept, weights, zero)
        attended = factor * tf.matmul(kept, value)

        def gradient(grad_attended):
            # The gradient of the softmax needs, for each query, the sum of weights times their gradients. It equals
            # the sum of the results times theirs.
            sums = tf.reduce_sum(grad_attended * attended, axis=-1, keepdims=True)
            grad_attended = factor * grad_attended
            grad_value = tf.matmul(kept, grad_attended, transpose_a=True)
            grad_weights = tf.where(is_kept, tf.matmul(grad_attended, value, transpose_b=True), zero)
            grad_scores = weights * (grad_weights - sums)
            scale = _scale(query)
            grad_query, grad_key = tf.matmul(grad_scores, key), tf.matmul(grad_scores, query, transpose_a=True)
            return scale * grad_query, scale * grad_key, grad_value

        return attended, gradient

    return attend_and_differentiate(query, key, value)
