"""Everything of KerasNLP and Keras that is not part of their public interface and that tfbert reads.

KerasNLP keeps the parts of its layers in private attributes. They are read here and nowhere else, so that a new version
of either library needs changes in one file. `tests/encoder/test_kerasnlp.py` checks that all of them exist.
"""

from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf
from keras_hub.layers import MaskedLMHead, TransformerEncoder

# From the first to below the second version; as in setup.cfg.
SUPPORTED_VERSIONS = {"keras": ("3.15", "4"), "keras-nlp": ("0.32", "1")}


class LayerParts(NamedTuple):
    """The layers that a built `TransformerEncoder` consists of."""

    attention: keras.layers.MultiHeadAttention
    attention_dropout: keras.layers.Dropout
    attention_norm: keras.layers.LayerNormalization
    feedforward_in: keras.layers.Dense
    feedforward_out: keras.layers.Dense
    feedforward_dropout: keras.layers.Dropout
    feedforward_norm: keras.layers.LayerNormalization


def layer_parts(layer: TransformerEncoder) -> LayerParts:
    """Return the parts of a built layer."""
    return LayerParts(
        attention=layer._self_attention_layer,
        attention_dropout=layer._self_attention_dropout,
        attention_norm=layer._self_attention_layer_norm,
        feedforward_in=layer._feedforward_intermediate_dense,
        feedforward_out=layer._feedforward_output_dense,
        feedforward_dropout=layer._feedforward_dropout,
        feedforward_norm=layer._feedforward_layer_norm,
    )


def score_dropout(attention: keras.layers.MultiHeadAttention) -> keras.layers.Dropout:
    """Return the dropout of the attention probabilities."""
    return attention._dropout_layer


def attend(
    attention: keras.layers.MultiHeadAttention,
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    mask: tf.Tensor,
    training: bool,
    return_scores: bool,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Return what Keras computes between the projections to queries, keys and values and the output projection.

    Args:
        attention: built.
        query: float `(batch, length, num_heads, head_dim)`.
        key: float `(batch, key_length, num_heads, head_dim)`.
        value: float, of the shape of the keys.
        mask: bool `(batch, 1 or length, key_length)`.
        training: whether dropout is active.
        return_scores: whether the second value is needed.

    Returns:
        The attended values, of the shape of the queries, and the scores `(batch, num_heads, length, key_length)`, which
        may be `None` where they are not needed.
    """
    return attention._compute_attention(query, key, value, mask, training, return_scores)


class MaskedWordParts(NamedTuple):
    """The parts of a built `MaskedLMHead` that are its own."""

    dense: keras.layers.Dense
    norm: keras.layers.LayerNormalization
    bias: keras.Variable


def masked_word_parts(head: MaskedLMHead) -> MaskedWordParts:
    """Return the parts of a built head."""
    return MaskedWordParts(head._intermediate_dense, head._intermediate_layer_norm, head._bias)


def preset_dir(preset: str) -> Path:
    """Return the directory in KerasNLP's cache that holds the files of a preset."""
    from keras_hub.src.utils import preset_utils

    return Path(preset_utils.get_file(preset, "config.json")).parent
