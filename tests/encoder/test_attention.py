"""Attention is what its formula says, in values and gradients, with dropout and without; see test_block.py too."""

import numpy as np
import pytest
import tensorflow as tf
from support.rounding import assert_near, distance, relative_error

from tfbert.encoder import attention
from tfbert.encoder.elementwise import draw_kept

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
    mask, seed = MASKS[name], tf.constant([5, 6])
    kept = tf.cast(draw_kept([2, 3, 7, 7], rate, seed), tf.float32) / (1 - rate)

    def step_by_step(query, key, value):
        agreement = tf.einsum("blhd,bmhd->bhlm", query, key) / np.sqrt(query.shape[-1])
        if mask is not None:
            agreement += tf.where(tf.cast(mask, tf.bool), 0.0, -1e9)[:, None]
        return tf.einsum("bhlm,bmhd->blhd", tf.nn.softmax(agreement) * kept, value)

    def attend(query, key, value):
        return attention.attend(query, key, value, mask, rate, seed)

    results = []
    for function in (step_by_step, attend):
        with tf.GradientTape() as tape:
            tape.watch([query, key, value])
            found = function(query, key, value)
            loss = tf.reduce_sum(tf.sin(found))
        results.append([found, *tape.gradient(loss, [query, key, value])])
    for expected, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_finite_and_near(dtype):
    parts = [tf.constant(np.random.default_rng(seed).normal(size=(2, 7, 3, 4)), tf.float32) for seed in range(3)]
    found = attention.attend(*(tf.cast(part, dtype) for part in parts), MASKS["padding"], 0.0, None)
    assert found.dtype == dtype
    expected = attention.attend(*parts, MASKS["padding"], 0.0, None)
    # Seven values are weighted by a softmax of seven products of four numbers.
    rounded = {"length": 7, "depth": 3}
    assert_near(tf.cast(found, tf.float32), expected, dtype, **rounded)
    query, key, value = parts
    for broken in ((key, query, value), (2 * query, key, value), (query, key, value[:, :, ::-1])):
        far = distance(attention.attend(*broken, MASKS["padding"], 0.0, None), expected)[0]
        assert far > 5 * relative_error("bfloat16", **rounded)
    assert distance(attention.attend(*parts, None, 0.0, None), expected)[0] > 5 * relative_error("bfloat16", **rounded)
