"""What is done between matrix products equals Keras' own in values and gradients; dropout drops as much as it says."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.rounding import assert_near, distance, relative_error

from tfbert.encoder.elementwise import add_and_norm, draw_kept, gelu

SHAPE = (3, 5, 8)


def normal(seed, shape=SHAPE, mean=0.0):
    return tf.constant(np.random.default_rng(seed).normal(mean, size=shape), tf.float32)


def with_gradients(function, tensors):
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        found = function(*tensors)
        # Every number has a weight of its own, so that none can stand for another.
        loss = tf.reduce_sum(tf.sin(3 * tf.cast(found, tf.float32)))
    return [found, *tape.gradient(loss, tensors)]


def test_gelu_is_the_exact_one_far_from_zero_too():
    x = [tf.constant(np.linspace(-12, 12, 481), tf.float32)]
    found, expected = with_gradients(gelu, x), with_gradients(keras.activations.gelu, x)
    # Rounded are the error function, its product and the result; the loss takes the sine of three times up to 12.
    rounded = {"length": 1, "depth": 4}
    assert_near(found[0], expected[0], "float32", **rounded)
    assert_near(found[1], expected[1], "float32", **rounded, steepness=3 * 12)
    by_tanh = with_gradients(lambda x: keras.activations.gelu(x, approximate=True), x)
    assert distance(by_tanh[0], expected[0])[0] > 10 * relative_error("float32", **rounded)
    assert distance(by_tanh[1], expected[1])[0] > 10 * relative_error("float32", **rounded, steepness=3 * 12)


def test_gelu_in_half_precision():
    x = tf.constant(np.linspace(-6, 6, 241), tf.float32)
    for dtype in (tf.bfloat16, tf.float16):
        found = with_gradients(gelu, [tf.cast(x, dtype)])
        assert {tensor.dtype for tensor in found} == {dtype}
        expected = keras.activations.gelu(x)
        # Rounded are the input, its error function, the product and the result.
        rounded = {"length": 1, "depth": 4}
        assert_near(tf.cast(found[0], tf.float32), expected, dtype.as_numpy_dtype, **rounded)
        assert distance(keras.activations.relu(x), expected)[0] > 1.5 * relative_error("bfloat16", **rounded)


def step_by_step(is_kept, rate, epsilon):
    """Return what Keras' layers compute, one after another."""

    def compute(x, residual, gamma, beta):
        summed = x * tf.cast(is_kept, x.dtype) / (1 - rate) + residual
        return keras.ops.layer_normalization(summed, gamma, beta, axis=-1, epsilon=epsilon)

    return compute


@pytest.mark.parametrize("epsilon", [1e-12, 1e-1])
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_add_and_norm_with_gradients(rate, epsilon):
    seed = tf.constant([5, 6])
    is_kept = draw_kept(SHAPE, rate, seed) if rate else tf.ones(SHAPE, tf.bool)
    tensors = [normal(1, mean=2.0), normal(2), normal(3, SHAPE[-1:], mean=1.0), normal(4, SHAPE[-1:])]
    found = with_gradients(lambda *given: add_and_norm(*given, epsilon=epsilon, rate=rate, seed=seed), tensors)
    result, *gradients = with_gradients(step_by_step(is_kept, rate, epsilon), tensors)
    rounded = {"length": SHAPE[-1], "depth": 3}
    assert_near(found[0], result, "float32", **rounded)
    # Twice as many sums, and the loss is steep: it takes the sine of three times the results, which are up to 5.
    rounded = {"length": SHAPE[-1], "depth": 6, "steepness": 3 * 5}
    for one, other in zip(found[1:], gradients, strict=True):
        assert_near(one, other, "float32", **rounded)
    # Another epsilon, or what is dropped elsewhere, is not rounding.
    far = [
        distance(*pair)[0]
        for pair in zip(found, with_gradients(step_by_step(is_kept, rate, 1e-3), tensors), strict=True)
    ]
    assert min(far) > 10 * relative_error("float32", **rounded)


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_add_and_norm_in_half_precision_keeps_its_weights_single(dtype):
    tensors = [normal(1, mean=2.0), normal(2), normal(3, SHAPE[-1:], mean=1.0), normal(4, SHAPE[-1:])]
    given = [tf.cast(tensor, dtype) for tensor in tensors[:2]] + tensors[2:]
    found = with_gradients(lambda *given: add_and_norm(*given, epsilon=1e-12, rate=0.0, seed=None), given)
    assert [tensor.dtype for tensor in found] == [dtype, dtype, dtype, tf.float32, tf.float32]
    expected = step_by_step(tf.ones(SHAPE, tf.bool), 0.0, 1e-12)(*tensors)
    # Eight numbers make a mean and a variance, and are then scaled.
    rounded = {"length": SHAPE[-1], "depth": 3}
    assert_near(tf.cast(found[0], tf.float32), expected, dtype.as_numpy_dtype, **rounded)
    for index in (2, 3):  # without scale, without shift
        broken = [*tensors[:index], tf.fill(SHAPE[-1:], 3.0 - index), *tensors[index + 1 :]]
        far = distance(step_by_step(tf.ones(SHAPE, tf.bool), 0.0, 1e-12)(*broken), expected)[0]
        assert far > 5 * relative_error("bfloat16", **rounded)


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_so_much_is_dropped(rate):
    draws = np.stack([draw_kept([3, 101, 101], rate, tf.constant([1, seed])).numpy() for seed in range(300)])
    assert draws.shape == (300, 3, 101, 101)
    shares = draws.mean((1, 2, 3))
    # Five deviations: of a call's binomial, and of the mean of so many thresholds, which lie within 1/256.
    assert np.abs(shares - (1 - rate)).max() < 1 / 256 + 5 * np.sqrt(rate * (1 - rate) / draws[0].size)
    assert abs(shares.mean() - (1 - rate)) < 5 * (0.5 / 256 / np.sqrt(300) + np.sqrt(rate * (1 - rate) / draws.size))


def test_no_position_is_dropped_more_than_another():
    draws = np.stack([draw_kept([4, 33, 35], 0.5, tf.constant([1, seed])).numpy() for seed in range(300)])
    # So many fair coins each; the largest of 4,620 deviations is below five.
    assert np.abs(draws.mean(0) - 0.5).max() < 5 * 0.5 / np.sqrt(300)


def test_an_odd_number_is_drawn_in_full_and_again_by_the_same_seed():
    draws = [draw_kept([1, 1, 5, 3], 0.5, tf.constant(seed)).numpy() for seed in ([1, 2], [1, 2], [1, 3])]
    assert draws[0].shape == (1, 1, 5, 3)
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()
