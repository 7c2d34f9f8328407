"""What KerasNLP's BERT constructor does not take: activation, epsilon, faster ways in; a backbone that does so out."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf
from keras_hub.models import BertBackbone

from tfbert.encoder import block


@keras.saving.register_keras_serializable("tfbert")
def gelu_tanh(x):
    """Compute gelu by its tanh formula, as the original BERT code does."""
    return keras.activations.gelu(x, approximate=True)


# `keras.activations.gelu` is the exact one: approximate=False is its default.
FUNCTIONS = {"gelu": keras.activations.gelu, "gelu_tanh": gelu_tanh}
FUNCTIONS |= {"relu": keras.activations.relu, "silu": keras.activations.silu}


def build_backbone(
    facts: dict, *, dropout: float, dtype: str = "float32", products: str | None = None, fast: bool = True
) -> BertBackbone:
    """Return the architecture that an encoder's facts describe, with weights that are yet to be set.

    Args:
        facts: `Encoder.facts`, or what was stored of them with a run.
        dropout: of hidden states and attention.
        dtype: Keras dtype policy.
        products: as for `set_computation`.
        fast: likewise.
    """
    sizes = ("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim")
    with no_weights_drawn():
        backbone = BertBackbone(
            **{name: facts[name] for name in (*sizes, "max_sequence_length", "num_segments")},
            dropout=dropout,
            dtype=dtype,
        )
    set_computation(backbone, facts["activation"], facts["layer_norm_epsilon"], fast, products)
    return backbone


@contextlib.contextmanager
def no_weights_drawn() -> Iterator[None]:
    """Let backbones that are made inside begin with zeros where KerasNLP's BERT draws.

    For those whose weights are all set afterwards: to draw them takes three times as long as all the rest.
    """
    initializer = keras.initializers.TruncatedNormal
    draw = initializer.__call__
    initializer.__call__ = lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype)
    try:
        yield
    finally:
        initializer.__call__ = draw


def set_computation(
    backbone: BertBackbone,
    activation: str,
    layer_norm_epsilon: float,
    fast: bool = True,
    products: str | None = None,
    matrices: str | None = None,
) -> None:
    """Give every layer an activation and an epsilon that KerasNLP's constructor does not take, and make it faster.

    The backbone's own config has no place for either, so `from_config` and a `.keras` file fall back to KerasNLP's:
    call this again after them, or use `save_encoder`. Weights are not touched. A model that was compiled or traced
    before must be compiled again.

    Args:
        backbone: changed in place.
        activation: `gelu` (exact), `gelu_tanh`, `relu`, `silu`.
        layer_norm_epsilon: above 0.
        fast: whether layers compute by `block` and `attention`, equal to KerasNLP within rounding. False leaves them as
            they are: KerasNLP's, unless an earlier call changed them.
        products: dtype in which fast layers multiply matrices in training; `None` for that of the backbone's policy.
        matrices: dtype in which fast layers multiply in answering, by copies of their weights as they are now; `None`
            for the weights themselves.
    """
    function = FUNCTIONS[activation]
    backbone.embeddings_layer_norm.epsilon = layer_norm_epsilon
    for layer in backbone.transformer_layers:
        layer.activation = function
        layer._feedforward_intermediate_dense.activation = function
        layer.layer_norm_epsilon = layer_norm_epsilon
        layer._self_attention_layer_norm.epsilon = layer_norm_epsilon
        layer._feedforward_layer_norm.epsilon = layer_norm_epsilon
        if fast:
            block.use_in(layer, products, matrices)


@contextlib.contextmanager
def answering_in(backbone: BertBackbone, matrices: str | None) -> Iterator[None]:
    """Let what is traced inside answer by copies of the layers' matrices as they are now, in another dtype.

    Args:
        backbone: the same again afterwards.
        matrices: dtype; `None` changes nothing.
    """
    layers = backbone.transformer_layers if matrices else []
    calls = [layer.call for layer in layers]
    for layer in layers:
        block.use_in(layer, matrices=matrices)
    try:
        yield
    finally:
        for layer, call in zip(layers, calls, strict=True):
            layer.call = call


def check_layers(num_learned: int | None, num_layers: int, name: str) -> None:
    """Refuse to learn more layers than an encoder has.

    Args:
        num_learned: layers to learn; `None` for all and the embeddings.
        num_layers: of the encoder.
        name: of the encoder.

    Raises:
        ValueError: it has fewer.
    """
    if num_learned is not None and num_learned > num_layers:
        raise ValueError(
            f"train.trainable_layers={num_learned}: {name} has {num_layers} layers; wanted at most so many"
        )


def freeze(backbone: BertBackbone, num_learned: int) -> None:
    """Let only the layers nearest the head learn; those below, and the embeddings, answer alike in training and after.

    Dropout is left out of what does not learn: it would disturb what nothing can make up for, and what is computed for
    a text once would not be true for the next epoch.

    Args:
        backbone: changed in place, before anything of it is traced.
        num_learned: layers that learn; 0 for none. The pooler is not one of them.
    """
    below = backbone.transformer_layers[: backbone.num_layers - num_learned]
    for layer in (backbone.token_embedding, backbone.position_embedding, backbone.segment_embedding):
        layer.trainable = False
    backbone.embeddings_layer_norm.trainable = False
    backbone.embeddings_dropout.rate = 0.0
    for layer in below:
        layer.trainable = False
        layer._self_attention_layer._dropout = 0.0
        layer._self_attention_dropout.rate = 0.0
        layer._feedforward_dropout.rate = 0.0
    # No gradient is computed of what is below this one.
    last = below[-1] if below else backbone.embeddings_dropout
    compute = last.call
    last.call = lambda *args, **options: tf.stop_gradient(compute(*args, **options))
