"""Attention equals Keras' own in values and gradients, with dropout and without."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfbert.encoder import attention
from tfbert.encoder.elementwise import draw_kept

SHAPE = (2, 7, 12)
MASKS = {
    "none": None,
    "padding": np.array([[[1] * 7], [[1] * 4 + [0] * 3]]),
    "by query": np.tril(np.ones((2, 7, 7))) > 0,
}


def a_layer(dropout=0.0, dtype="float32"):
    keras.utils.set_random_seed(3)
    layer = keras.layers.MultiHeadAttention(3, 4, dropout=dropout, dtype=dtype)
    layer.build(SHAPE, SHAPE)
    for index, weight in enumerate(layer.weights[: 2 * 4]):
        weight.assign(np.random.default_rng(index).normal(size=weight.shape))
    return layer


def inputs():
    return tf.constant(np.random.default_rng(9).normal(size=SHAPE), tf.float32)


def with_gradients(layer, mask, training):
    x = inputs()
    with tf.GradientTape() as tape:
        tape.watch(x)
        found = layer(x, x, attention_mask=mask, training=training)
        loss = tf.reduce_sum(tf.sin(found))
    return [found, *tape.gradient(loss, [x, *(weight.value for weight in layer.trainable_weights)])]


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("training", [False, True])
def test_it_computes_what_keras_computes(name, training):
    mask, by_keras, ours = MASKS[name], a_layer(), a_layer()
    attention.use_in(ours)
    for expected, found in zip(
        with_gradients(by_keras, mask, training), with_gradients(ours, mask, training), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_without_training_nothing_is_dropped():
    dropping, plain = a_layer(0.5), a_layer()
    attention.use_in(dropping)
    found = dropping(inputs(), inputs(), training=False)
    np.testing.assert_allclose(found, plain(inputs(), inputs()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MASKS)
def test_the_gradient_with_dropout_is_that_of_the_values(name):
    query, key, value = (
        tf.constant(np.random.default_rng(seed).normal(size=(2, 7, 3, 4)), tf.float32) for seed in range(3)
    )
    mask, rate, seed = MASKS[name], 0.4, tf.constant([5, 6])
    kept = tf.cast(draw_kept([2, 3, 7, 7], rate, seed), tf.float32) / (1 - rate)

    def step_by_step(query, key, value):
        agreement = tf.einsum("blhd,bmhd->bhlm", query, key)
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


def test_every_call_drops_others_and_the_same_seed_the_same():
    runs = []
    for _ in range(2):
        layer = a_layer(0.5)
        attention.use_in(layer)
        runs.append([layer(inputs(), inputs(), training=True).numpy() for _ in range(2)])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.allclose(runs[0][0], runs[0][1])


def test_attention_scores_and_causal_masks_are_left_to_keras():
    layer, by_keras = a_layer(), a_layer()
    attention.use_in(layer)
    for options in ({"return_attention_scores": True}, {"use_causal_mask": True}):
        for found, expected in zip(
            layer(inputs(), inputs(), **options), by_keras(inputs(), inputs(), **options), strict=True
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_stays_finite_and_near(dtype):
    layer, single = a_layer(dtype=dtype), a_layer()
    attention.use_in(layer)
    found = layer(inputs(), inputs(), attention_mask=MASKS["padding"], training=True)
    expected = single(inputs(), inputs(), attention_mask=MASKS["padding"])
    assert found.dtype == dtype.removeprefix("mixed_")
    np.testing.assert_allclose(tf.cast(found, tf.float32), expected, rtol=0.1, atol=0.3)
