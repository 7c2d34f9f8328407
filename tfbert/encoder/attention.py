"""Queries, keys and values in, attended values out: what Keras' attention layer computes, in fewer passes over memory.

A row of 256 tokens has 65,536 attention probabilities a head, so that on a processor the passes over them, not the
matrix products, are what attention costs. Keras differentiates every step and draws 32 random bits a probability.
"""

import tensorflow as tf

from tfbert.encoder.elementwise import draw_kept


def attend(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, mask: tf.Tensor | None, rate: float, seed: tf.Tensor | None
) -> tf.Tensor:
    """Return values weighted by the softmax of how much queries and keys agree, some of the weights dropped.

    Args:
        query: float `(batch, length, heads, size)`.
        key: likewise.
        value: likewise.
        mask: `(batch, 1 or length, length)`, where a query may look: true or not 0; `None` for everywhere.
        rate: of dropout on the weights, 0 to below 1.
        seed: of it, integer `(2,)`; not used where `rate` is 0.

    Returns:
        float `(batch, length, heads, size)`.

    Source: Vaswani et al. 2017, "Attention Is All You Need", section 3.2.1; for the gradient without the product of
        dropped weights and their gradients, Dao et al. 2022, "FlashAttention", appendix B.4. Ours keeps the weights in
        memory.
    """
    query, key, value = (tf.transpose(part, [0, 2, 1, 3]) for part in (query, key, value))
    bias = None
    if mask is not None:
        # As Keras has it: large enough to vanish in the softmax, small enough for half precision.
        away = -3e4 if query.dtype == tf.float16 else -1e9
        bias = tf.where(tf.cast(mask, tf.bool), tf.zeros([], query.dtype), tf.cast(away, query.dtype))[:, None]
    found = _with_dropout(query, key, value, bias, rate, seed) if rate else _weights(query, key, bias) @ value
    return tf.transpose(found, [0, 2, 1, 3])


def _scale(query: tf.Tensor) -> tf.Tensor:
    return tf.constant(query.shape[-1] ** -0.5, query.dtype)


def _weights(query: tf.Tensor, key: tf.Tensor, bias: tf.Tensor | None) -> tf.Tensor:
    # A product, times a constant, plus a bias: so TensorFlow does all three in one pass over memory. To scale the
    # queries, which are smaller, would leave it two.
    agreement = tf.matmul(query, key, transpose_b=True) * _scale(query)
    return tf.nn.softmax(agreement if bias is None else agreement + bias)


def _with_dropout(query, key, value, bias, rate, seed):
    @tf.custom_gradient
    def weighted(query, key, value):
        weights = _weights(query, key, bias)
        is_kept = draw_kept(tf.shape(weights), rate, seed)
        zero = tf.zeros([], weights.dtype)
        # What is kept counts for what is dropped. The factor is put on the small tensors, not on the weights.
        factor = tf.cast(1 / (1 - rate), weights.dtype)
        kept = tf.where(is_kept, weights, zero)
        found = factor * tf.matmul(kept, value)

        def gradient(of_found):
            # The softmax's gradient wants each row's sum of weights times their gradients: that of the results.
            row_sums = tf.reduce_sum(of_found * found, axis=-1, keepdims=True)
            of_found = factor * of_found
            of_value = tf.matmul(kept, of_found, transpose_a=True)
            of_weights = tf.where(is_kept, tf.matmul(of_found, value, transpose_b=True), zero)
            of_agreement = weights * (of_weights - row_sums)
            scale = _scale(query)
            of_query, of_key = tf.matmul(of_agreement, key), tf.matmul(of_agreement, query, transpose_a=True)
            return scale * of_query, scale * of_key, of_value

        return found, gradient

    return weighted(query, key, value)
