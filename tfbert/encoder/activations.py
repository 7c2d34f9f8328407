"""Activation functions of BERT's feed-forward sublayer by name."""

import keras


@keras.saving.register_keras_serializable("tfbert")
def gelu_tanh(x):
    """Compute GELU by its tanh approximation, as the original BERT code does."""
    return keras.activations.gelu(x, approximate=True)


# `keras.activations.gelu` is the exact form: its `approximate` is False by default.
ACTIVATIONS = {
    "gelu": keras.activations.gelu,
    "gelu_tanh": gelu_tanh,
    "relu": keras.activations.relu,
    "silu": keras.activations.silu,
}
