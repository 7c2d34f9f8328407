"""Dropout, GELU and LayerNorm for training: the values of Keras' layers, in fewer passes over memory.

Keras differentiates every step of GELU and LayerNorm, which stores and reads a tensor for each step. Here each of them
has one hand-written gradient. Exported graphs use only `centre`: a custom gradient hides operations from TensorFlow
that it could fuse.
"""

import math
from typing import NamedTuple

import tensorflow as tf

# Number of values of 8 random bits.
_NUM_VALUES = 256


class DropoutState(NamedTuple):
    """The rate and the random seed of one application of dropout.

    Args:
        rate: fraction of values that are dropped, 0 to below 1.
        seed: integer `(2,)`; not used if the rate is 0.
    """

    rate: float
    seed: tf.Tensor | None


NO_DROPOUT = DropoutState(0.0, None)


def draw_keep_mask(shape: tf.Tensor, dropout: DropoutState) -> tf.Tensor:
    """Return a random mask of the given shape that is true for the values that dropout keeps.

    Drawing random numbers is most of the cost of dropout, so each value gets 8 random bits instead of a 32-bit float.
    They are compared with a threshold. For a rate of 0.1 it would be 25.6, which 8 bits cannot represent, so the
    threshold is random too: 26 with probability 0.6, else 25. One call may therefore keep up to 1/256 of the values too
    many or too few, but on average over calls the rate is exact.

    Args:
        shape: int32 `(rank,)`.
        dropout: the same seed draws the same mask.
    """
    count = tf.reduce_prod(shape)
    # Each word has the bits of four values; the first word draws the threshold.
    words = tf.random.stateless_uniform([(count + 3) // 4 + 1], tf.cast(dropout.seed, tf.int32), None, None, tf.int32)
    chance = tf.cast(words[0], tf.float32) * 2**-32 + 0.5
    # The smaller of the two fractions gives a threshold of at most 128; 256 would not fit in 8 bits.
    threshold = tf.cast(tf.floor(min(dropout.rate, 1 - dropout.rate) * _NUM_VALUES + chance), tf.uint8)
    bits = tf.reshape(tf.bitcast(words[1:], tf.uint8), [-1])[:count]
    return tf.reshape(bits >= threshold if dropout.rate <= 0.5 else bits < threshold, shape)


@tf.custom_gradient
def gelu(x: tf.Tensor):
    """Return x times the cumulative distribution function of the normal distribution at x: float, the shape of x.

    Source: Hendrycks and Gimpel 2016, "Gaussian Error Linear Units", section 2: the exact form, as TensorFlow computes
        it.
    """
    scaled = x * math.sqrt(0.5)
    # In float32, erf takes a third of the time of erfc. It loses digits below -5, where the product is almost 0 anyway.
    probability = 0.5 + 0.5 * tf.math.erf(scaled) if x.dtype == tf.float32 else 0.5 * tf.math.erfc(-scaled)

    def gradient(grad_result):
        # The constant is inside the exponential, because each pass over these tensors, the widest of a step, costs
        # time.
        density = tf.exp(0.5 * math.log(0.5 / math.pi) - tf.square(scaled))
        return grad_result * (probability + x * density)

    return x * probability, gradient


def add_and_norm(
    x: tf.Tensor, residual: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *, epsilon: float, dropout: DropoutState
) -> tf.Tensor:
    """Apply dropout to x, add the residual, and apply LayerNorm to the sum.

    Args:
        x: float `(batch, length, hidden_dim)`.
        residual: float, the same shape as `x`.
        gamma: float32 `(hidden_dim,)`.
        beta: float32 `(hidden_dim,)`.
        epsilon: added to the variance.
        dropout: rate and seed for `x`.

    Returns:
        The shape and dtype of `x`. LayerNorm is computed in float32, as in Keras.

    Source: Ba et al. 2016, "Layer Normalization", section 3; the gradient is derived by hand.
    """

    @tf.custom_gradient
    def add_norm_and_differentiate(x, residual, gamma, beta):
        is_kept = draw_keep_mask(tf.shape(x), dropout) if dropout.rate else None
        total = tf.cast(_drop(x, is_kept, dropout.rate) + residual, tf.float32)
        centred, inverse_deviation = centre(total, epsilon)
        normalized = centred * inverse_deviation

        def gradient(grad_result):
            grad_result = tf.cast(grad_result, tf.float32)
            grad_by_normalized = grad_result * normalized
            grad_normalized = grad_result * gamma
            # Changes of a vector's mean or length have no effect on the result, so their components are removed.
            mean = tf.reduce_mean(grad_normalized, axis=-1, keepdims=True)
            projection = tf.reduce_mean(grad_normalized * normalized, axis=-1, keepdims=True)
            grad_total = tf.cast((grad_normalized - mean - normalized * projection) * inverse_deviation, x.dtype)
            axes = [0, 1]
            grad_gamma, grad_beta = tf.reduce_sum(grad_by_normalized, axes), tf.reduce_sum(grad_result, axes)
            return _drop(grad_total, is_kept, dropout.rate), grad_total, grad_gamma, grad_beta

        return tf.cast(normalized * gamma + beta, x.dtype), gradient

    return add_norm_and_differentiate(x, residual, gamma, beta)


def apply_dropout(x: tf.Tensor, dropout: DropoutState) -> tf.Tensor:
    """Return float x with some values set to 0 and the others scaled up to preserve the mean."""
    return _drop(x, draw_keep_mask(tf.shape(x), dropout) if dropout.rate else None, dropout.rate)


def centre(x: tf.Tensor, epsilon: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Return vectors minus their mean, and the inverse of their standard deviation.

    Args:
        x: float32 `(..., size)`.
        epsilon: added to the variance.

    Returns:
        float32 `(..., size)` and `(..., 1)`.
    """
    centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    return centred, tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True) + epsilon)


def _drop(x: tf.Tensor, is_kept: tf.Tensor | None, rate: float) -> tf.Tensor:
    if is_kept is None:
        return x
    # Kept values are scaled up to preserve the mean.
    return tf.where(is_kept, x * tf.cast(1 / (1 - rate), x.dtype), tf.zeros([], x.dtype))
