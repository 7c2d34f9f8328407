"""Attention equals its formula in values and gradients, with and without dropout; see also test_layer.py."""

import numpy as np
import pytest
import tensorflow as tf
from support.rounding import assert_near, distance, relative_error

from tfbert.encoder import attention
from tfbert.encoder.elementwise import NO_DROPOUT, DropoutState, draw_keep_mask

MASKS = {
    "none": None,
    "padding": np.array([[[1] * 7], [[1] * 4 + [0] * 3]]),
    "by query": np.tril(np.ones((2, 7, 7))) > 0,
}


@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("name", MASKS)
def test_values_and_gradients_are_those_of_the_formula(name, rate):
    query, key, value = (
        tf.constant(np.random.default_rng(seed).normal(size=(2, 7, 3, 4)), tf.float32) for seed in range(3)
    )
    mask, dropout = MASKS[name], DropoutState(rate, tf.constant([5, 6]))
    keep_scale = tf.cast(draw_keep_mask([2, 3, 7, 7], dropout), tf.float32) / (1 - rate)

    def step_by_step(query, key, value):
        scores = tf.einsum("blhd,bmhd->bhlm", query, key) / np.sqrt(query.shape[-1])
        if mask is not None:
            scores += tf.where(tf.cast(mask, tf.bool), 0.0, -1e9)[:, None]
        return tf.einsum("bhlm,bmhd->blhd", tf.nn.softmax(scores) * keep_scale, value)

    def attend(query, key, value):
        return attention.attend(query, key, value, mask, dropout)

    results = []
    for function in (step_by_step, attend):
        with tf.GradientTape() as tape:
            tape.watch([query, key, value])
            attended = function(query, key, value)
            loss = tf.reduce_sum(tf.sin(attended))
        results.append([attended, *tape.gradient(loss, [query, key, value])])
    for expected, actual in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_differs_by_rounding_only(dtype):
    inputs = [tf.constant(np.random.default_rng(seed).normal(size=(2, 7, 3, 4)), tf.float32) for seed in range(3)]
    attended = attention.attend(*(tf.cast(tensor, dtype) for tensor in inputs), MASKS["padding"], NO_DROPOUT)
    assert attended.dtype == dtype
    expected = attention.attend(*inputs, MASKS["padding"], NO_DROPOUT)
    # Seven values are weighted by a softmax of seven products of four numbers.
    rounding = {"length": 7, "depth": 3}
    assert_near(tf.cast(attended, tf.float32), expected, dtype, **rounding)
    min_error = 5 * relative_error("bfloat16", **rounding)
    query, key, value = inputs
    for broken in ((key, query, value), (2 * query, key, value), (query, key, value[:, :, ::-1])):
        assert distance(attention.attend(*broken, MASKS["padding"], NO_DROPOUT), expected)[0] > min_error
    assert distance(attention.attend(*inputs, None, NO_DROPOUT), expected)[0] > min_error
