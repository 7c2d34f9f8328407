"""The private attributes of KerasNLP's and Keras's layers that tfbert reads.

KerasNLP keeps the inner layers of its layers in private attributes. Only this file reads them, so that a new version of
either library requires changes in one file. `tests/encoder/test_kerasnlp.py` checks that all of them exist. (The
optimizers in `training/optimizers.py` are subclasses of Keras's and use what their base classes have.)
"""

from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf
from keras_hub.layers import MaskedLMHead, TransformerEncoder

# For each package, the oldest supported version and the first unsupported one; the same as in setup.cfg.
SUPPORTED_VERSIONS = {"keras": ("3.15", "4"), "keras-nlp": ("0.32", "1")}


class EncoderLayerComponents(NamedTuple):
    """The Keras layers inside a built `TransformerEncoder`."""

    attention: keras.layers.MultiHeadAttention
    attention_dropout: keras.layers.Dropout
    attention_norm: keras.layers.LayerNormalization
    feedforward_in: keras.layers.Dense
    feedforward_out: keras.layers.Dense
    feedforward_dropout: keras.layers.Dropout
    feedforward_norm: keras.layers.LayerNormalization


def encoder_layer_components(layer: TransformerEncoder) -> EncoderLayerComponents:
    """Return the Keras layers inside a built encoder layer."""
    return EncoderLayerComponents(
        attention=layer._self_attention_layer,
        attention_dropout=layer._self_attention_dropout,
        attention_norm=layer._self_attention_layer_norm,
        feedforward_in=layer._feedforward_intermediate_dense,
        feedforward_out=layer._feedforward_output_dense,
        feedforward_dropout=layer._feedforward_dropout,
        feedforward_norm=layer._feedforward_layer_norm,
    )


def attention_weight_dropout(attention: keras.layers.MultiHeadAttention) -> keras.layers.Dropout:
    """Return the dropout layer that is applied to the attention weights."""
    return attention._dropout_layer


def attend(
    attention: keras.layers.MultiHeadAttention,
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    *,
    mask: tf.Tensor,
    training: bool,
    return_scores: bool,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Return what Keras computes between the projections to queries, keys and values and the output projection.

    The parameters are those of Keras' own method.

    Args:
        attention: built.
        query: float `(batch, length, num_heads, head_dim)`.
        key: float `(batch, key_length, num_heads, head_dim)`.
        value: float, the same shape as `key`.
        mask: bool `(batch, 1 or length, key_length)`.
        training: whether dropout is active.
        return_scores: whether the second value is needed.

    Returns:
        The attended values, the same shape as `query`, and the scores `(batch, num_heads, length, key_length)`, which
        may be `None` if they are not needed.
    """
    return attention._compute_attention(query, key, value, mask, training, return_scores)


class MaskedWordComponents(NamedTuple):
    """The layers and weights that belong to a built `MaskedLMHead` alone, not to the token embedding."""

    dense: keras.layers.Dense
    norm: keras.layers.LayerNormalization
    bias: keras.Variable


def masked_word_components(head: MaskedLMHead) -> MaskedWordComponents:
    """Return the layers and weights that belong to a built head alone."""
    return MaskedWordComponents(head._intermediate_dense, head._intermediate_layer_norm, head._bias)


def preset_dir(preset: str) -> Path:
    """Return the directory in KerasNLP's cache that holds the files of a preset."""
    from keras_hub.src.utils import preset_utils

    return Path(preset_utils.get_file(preset, "config.json")).parent
