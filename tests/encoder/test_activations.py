"""Activations by name: the exact GELU and its tanh approximation."""

import math

import keras
import numpy as np

from tfbert.encoder.activations import ACTIVATIONS

X = np.linspace(-4, 4, 9, dtype=np.float32)


def test_gelu_is_exact_and_gelu_tanh_is_its_approximation():
    exact = np.array([x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in X])
    inner = math.sqrt(2 / math.pi) * (X + 0.044715 * X**3)
    np.testing.assert_allclose(ACTIVATIONS["gelu"](X), exact, atol=1e-6)
    np.testing.assert_allclose(ACTIVATIONS["gelu_tanh"](X), 0.5 * X * (1 + np.tanh(inner)), atol=1e-6)
    assert np.abs(ACTIVATIONS["gelu"](X) - ACTIVATIONS["gelu_tanh"](X)).max() > 1e-4


def test_a_layer_with_the_approximation_can_be_saved_and_loaded():
    layer = keras.layers.Dense(2, activation=ACTIVATIONS["gelu_tanh"])
    assert keras.layers.Dense.from_config(layer.get_config()).activation is ACTIVATIONS["gelu_tanh"]
