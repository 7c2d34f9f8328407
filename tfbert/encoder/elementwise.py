"""The work between matrix products in training: the values that Keras computes, in fewer passes over memory.

Keras differentiates every step of gelu and of the norm, which keeps and reads a tensor for each. Here both have one
gradient of their own. In what is exported they have no place: their gradients hide from TensorFlow what it could fuse.
"""

import math

import tensorflow as tf

# Of a random number of 8 bits.
_NUM_VALUES = 256


def draw_kept(shape: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """Return what dropout keeps: bool of a shape.

    Drawing is most of what dropout costs, so that 8 bits are drawn for each where a float would take 32, and compared
    with a threshold. That of 0.1 would be 25.6, which 8 bits do not have: it is drawn too, here 26 with a chance of
    0.6 and else 25. So one call keeps up to 1/256 more or fewer, and over calls everything is kept as often as it
    should.

    Args:
        shape: int32 `(rank,)`.
        rate: share that is not kept, 0 to below 1.
        seed: integer `(2,)`; the same one draws the same.
    """
    count = tf.reduce_prod(shape)
    # Four draws in each word, and one word for the threshold.
    words = tf.random.stateless_uniform([(count + 3) // 4 + 1], tf.cast(seed, tf.int32), None, None, tf.int32)
    chance = tf.cast(words[0], tf.float32) * 2**-32 + 0.5
    # From the side on which the threshold is at most a half: 8 bits do not have 256.
    threshold = tf.cast(tf.floor(min(rate, 1 - rate) * _NUM_VALUES + chance), tf.uint8)
    bits = tf.reshape(tf.bitcast(words[1:], tf.uint8), [-1])[:count]
    return tf.reshape(bits >= threshold if rate <= 0.5 else bits < threshold, shape)


@tf.custom_gradient
def gelu(x: tf.Tensor):
    """Return each number times the share of a normal distribution below it: float of x's shape.

    Source: Hendrycks and Gimpel 2016, "Gaussian Error Linear Units", section 2: the exact form, as
        TensorFlow computes it.
    """
    scaled = x * math.sqrt(0.5)
    # By erf in a third of the time of its complement; below -5, where it loses digits, nothing is left of x anyway.
    share = 0.5 + 0.5 * tf.math.erf(scaled) if x.dtype == tf.float32 else 0.5 * tf.math.erfc(-scaled)

    def gradient(of_result):
        # Its constant is inside the exponential, as every pass over these tensors, the widest of a step, takes time.
        density = tf.exp(0.5 * math.log(0.5 / math.pi) - tf.square(scaled))
        return of_result * (share + x * density)

    return x * share, gradient


def add_and_norm(
    x: tf.Tensor,
    residual: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    *,
    epsilon: float,
    rate: float,
    seed: tf.Tensor | None,
) -> tf.Tensor:
    """Drop some of x, add the residual, and give every vector mean beta and deviation gamma.

    Args:
        x: float `(batch, length, hidden)`.
        residual: likewise.
        gamma: float32 `(hidden,)`.
        beta: likewise.
        epsilon: added to the variance.
        rate: of dropout, 0 to below 1.
        seed: of it, integer `(2,)`; not used where `rate` is 0.

    Returns:
        Of x's shape and dtype. The norm is computed in float32, as in Keras.

    Source: Ba et al. 2016, "Layer Normalization", section 3, with the gradient worked out by hand.
    """

    @tf.custom_gradient
    def normed(x, residual, gamma, beta):
        is_kept = draw_kept(tf.shape(x), rate, seed) if rate else None
        summed = tf.cast(_dropped(x, is_kept, rate) + residual, tf.float32)
        centred, inverse = centre(summed, epsilon)
        normal = centred * inverse

        def gradient(of_result):
            of_result = tf.cast(of_result, tf.float32)
            by_normal = of_result * normal
            of_normal = of_result * gamma
            # What would move a vector's mean or length has no effect.
            mean = tf.reduce_mean(of_normal, axis=-1, keepdims=True)
            along = tf.reduce_mean(of_normal * normal, axis=-1, keepdims=True)
            of_summed = tf.cast((of_normal - mean - normal * along) * inverse, x.dtype)
            rows = [0, 1]
            of_weights = tf.reduce_sum(by_normal, rows), tf.reduce_sum(of_result, rows)
            return _dropped(of_summed, is_kept, rate), of_summed, *of_weights

        return tf.cast(normal * gamma + beta, x.dtype), gradient

    return normed(x, residual, gamma, beta)


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor | None) -> tf.Tensor:
    """Return x with some values set to 0 and the others scaled up to keep the mean.

    Args:
        x: float.
        rate: probability of 0 for each value, 0 to below 1.
        seed: integer `(2,)`; not used where `rate` is 0.
    """
    return _dropped(x, draw_kept(tf.shape(x), rate, seed) if rate else None, rate)


def centre(x: tf.Tensor, epsilon: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Return vectors less their mean, and one over their deviation.

    Args:
        x: float32 `(..., size)`.
        epsilon: added to the variance.

    Returns:
        float32 `(..., size)` and `(..., 1)`.
    """
    centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    return centred, tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True) + epsilon)


def _dropped(x: tf.Tensor, is_kept: tf.Tensor | None, rate: float) -> tf.Tensor:
    if is_kept is None:
        return x
    # What is kept counts for what is dropped.
    return tf.where(is_kept, x * tf.cast(1 / (1 - rate), x.dtype), tf.zeros([], x.dtype))
