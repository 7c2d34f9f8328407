"""Dropout, GELU and LayerNorm equal those of Keras in values and gradients, and dropout has the right rate."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.rounding import assert_near, distance, relative_error

from tfbert.encoder.elementwise import NO_DROPOUT, DropoutState, add_and_norm, draw_keep_mask, gelu

SHAPE = (3, 5, 8)


def normal(seed, shape=SHAPE, mean=0.0):
    return tf.constant(np.random.default_rng(seed).normal(mean, size=shape), tf.float32)


def with_gradients(function, tensors):
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        result = function(*tensors)
        # The sine gives every number a different gradient, so that exchanged numbers are noticed.
        loss = tf.reduce_sum(tf.sin(3 * tf.cast(result, tf.float32)))
    return [result, *tape.gradient(loss, tensors)]


def test_gelu_is_the_exact_one_far_from_zero_too():
    x = [tf.constant(np.linspace(-12, 12, 481), tf.float32)]
    actual, expected = with_gradients(gelu, x), with_gradients(keras.activations.gelu, x)
    # The error function, its product and the result are rounded; the loss is the sine of three times values up to 12.
    rounding = {"length": 1, "depth": 4}
    assert_near(actual[0], expected[0], "float32", **rounding)
    assert_near(actual[1], expected[1], "float32", **rounding, steepness=3 * 12)
    by_tanh = with_gradients(lambda x: keras.activations.gelu(x, approximate=True), x)
    assert distance(by_tanh[0], expected[0])[0] > 10 * relative_error("float32", **rounding)
    assert distance(by_tanh[1], expected[1])[0] > 10 * relative_error("float32", **rounding, steepness=3 * 12)


def test_gelu_in_half_precision():
    x = tf.constant(np.linspace(-6, 6, 241), tf.float32)
    for dtype in (tf.bfloat16, tf.float16):
        actual = with_gradients(gelu, [tf.cast(x, dtype)])
        assert {tensor.dtype for tensor in actual} == {dtype}
        expected = keras.activations.gelu(x)
        # The input, its error function, the product and the result are rounded.
        rounding = {"length": 1, "depth": 4}
        assert_near(tf.cast(actual[0], tf.float32), expected, dtype.as_numpy_dtype, **rounding)
        assert distance(keras.activations.relu(x), expected)[0] > 1.5 * relative_error("bfloat16", **rounding)


def step_by_step(is_kept, rate, epsilon):
    """Return a function that applies the layers of Keras one after another."""

    def compute(x, residual, gamma, beta):
        total = x * tf.cast(is_kept, x.dtype) / (1 - rate) + residual
        return keras.ops.layer_normalization(total, gamma, beta, axis=-1, epsilon=epsilon)

    return compute


@pytest.mark.parametrize("epsilon", [1e-12, 1e-1])
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_add_and_norm_with_gradients(rate, epsilon):
    dropout = DropoutState(rate, tf.constant([5, 6]))
    is_kept = draw_keep_mask(SHAPE, dropout) if rate else tf.ones(SHAPE, tf.bool)
    tensors = [normal(1, mean=2.0), normal(2), normal(3, SHAPE[-1:], mean=1.0), normal(4, SHAPE[-1:])]
    actual = with_gradients(lambda *args: add_and_norm(*args, epsilon=epsilon, dropout=dropout), tensors)
    result, *gradients = with_gradients(step_by_step(is_kept, rate, epsilon), tensors)
    rounding = {"length": SHAPE[-1], "depth": 3}
    assert_near(actual[0], result, "float32", **rounding)
    # Twice as many sums, and the loss is steep: the sine of three times the results, which are up to 5.
    rounding = {"length": SHAPE[-1], "depth": 6, "steepness": 3 * 5}
    for gradient, other in zip(actual[1:], gradients, strict=True):
        assert_near(gradient, other, "float32", **rounding)
    # Another epsilon causes a larger difference than rounding.
    other = with_gradients(step_by_step(is_kept, rate, 1e-3), tensors)
    errors = [distance(*pair)[0] for pair in zip(actual, other, strict=True)]
    assert min(errors) > 10 * relative_error("float32", **rounding)


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_add_and_norm_in_half_precision_keeps_its_weights_in_float32(dtype):
    tensors = [normal(1, mean=2.0), normal(2), normal(3, SHAPE[-1:], mean=1.0), normal(4, SHAPE[-1:])]
    rounded = [tf.cast(tensor, dtype) for tensor in tensors[:2]] + tensors[2:]
    actual = with_gradients(lambda *args: add_and_norm(*args, epsilon=1e-12, dropout=NO_DROPOUT), rounded)
    assert [tensor.dtype for tensor in actual] == [dtype, dtype, dtype, tf.float32, tf.float32]
    expected = step_by_step(tf.ones(SHAPE, tf.bool), 0.0, 1e-12)(*tensors)
    # Mean and variance are sums of eight numbers, which are then scaled.
    rounding = {"length": SHAPE[-1], "depth": 3}
    assert_near(tf.cast(actual[0], tf.float32), expected, dtype.as_numpy_dtype, **rounding)
    for index in (2, 3):  # without scale, without shift
        broken = [*tensors[:index], tf.fill(SHAPE[-1:], 3.0 - index), *tensors[index + 1 :]]
        error = distance(step_by_step(tf.ones(SHAPE, tf.bool), 0.0, 1e-12)(*broken), expected)[0]
        assert error > 5 * relative_error("bfloat16", **rounding)


def draw(shape, rate, seed):
    return draw_keep_mask(shape, DropoutState(rate, tf.constant(seed))).numpy()


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_the_right_fraction_is_dropped(rate):
    draws = np.stack([draw([3, 101, 101], rate, [1, seed]) for seed in range(300)])
    assert draws.shape == (300, 3, 101, 101)
    fractions = draws.mean((1, 2, 3))
    # Five deviations: those of the binomial distribution of a call, and of the mean of the 300 thresholds, which lie
    # within 1/256.
    assert np.abs(fractions - (1 - rate)).max() < 1 / 256 + 5 * np.sqrt(rate * (1 - rate) / draws[0].size)
    max_error = 5 * (0.5 / 256 / np.sqrt(300) + np.sqrt(rate * (1 - rate) / draws.size))
    assert abs(fractions.mean() - (1 - rate)) < max_error


def test_no_position_is_dropped_more_than_another():
    draws = np.stack([draw([4, 33, 35], 0.5, [1, seed]) for seed in range(300)])
    # Each position is 300 fair coins; the largest of 4,620 deviations is below five.
    assert np.abs(draws.mean(0) - 0.5).max() < 5 * 0.5 / np.sqrt(300)


def test_an_odd_number_of_values_is_drawn_and_a_seed_repeats_it():
    draws = [draw([1, 1, 5, 3], 0.5, seed) for seed in ([1, 2], [1, 2], [1, 3])]
    assert draws[0].shape == (1, 1, 5, 3)
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()
