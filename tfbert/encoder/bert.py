"""BERT encoder: KerasNLP's BERT with any activation and epsilon, fast layers, extension points and frozen layers."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import keras
import tensorflow as tf
from keras_hub.layers import PositionEmbedding, TransformerEncoder
from keras_hub.models import Backbone, BertBackbone

from tfbert.encoder.activations import ACTIVATIONS
from tfbert.encoder.extension_points import ExtensionPoint
from tfbert.encoder.layer import EncoderLayer
from tfbert.encoder.spec import EncoderSpec
from tfbert.encoder.tuning import TuningMethod
from tfbert.encoder.weights import copy_weights

_INPUTS = ("token_ids", "segment_ids", "padding_mask")
# What KerasNLP's `BertBackbone` uses, regardless of how the weights were trained.
KERASNLP_ACTIVATION, KERASNLP_EPSILON = "gelu_tanh", 1e-12
_INITIAL_DEVIATION = 0.02
# Sizes that are arguments of `BertBackbone` too.
_SIZES = ("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim")
_SIZES += ("max_sequence_length", "num_segments")


@keras.saving.register_keras_serializable("tfbert")
class PlaceholderZeros(keras.initializers.TruncatedNormal):
    """Initialize with zeros, for weights that are all set later: random values take longer than the rest of the model.

    It takes a seed from Keras' random state as `TruncatedNormal` does, so that all later random draws are the same with
    both initializers.
    """

    def __call__(self, shape, dtype=None):
        """Return zeros."""
        return keras.ops.zeros(shape, dtype)


class TokenLookup(Protocol):
    """Looks up token embeddings in place of the whole table."""

    def look_up(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Return float32 `(batch, length, hidden_dim)` for integer `(batch, length)`."""


@keras.saving.register_keras_serializable("tfbert")
class BertEncoder(Backbone):
    """BERT with the weights of KerasNLP's `BertBackbone`, under the same names, and its own computation.

    Args:
        vocabulary_size: number of token embeddings.
        num_layers: number of encoder layers.
        num_heads: attention heads per layer.
        hidden_dim: size of a token's vector; a multiple of `num_heads`.
        intermediate_dim: size of the feed-forward sublayers.
        dropout: rate for hidden states and attention weights, 0 to below 1.
        max_sequence_length: number of position embeddings.
        num_segments: number of segment embeddings.
        activation: a name in `ACTIVATIONS`.
        layer_norm_epsilon: added to variances, above 0.
        draw_weights: whether to initialize embeddings and kernels with random values. False is for weights that are all
            set later.
        fast: as for `EncoderLayer`.
        product_dtype: as for `EncoderLayer`.
        dtype: Keras dtype policy.
        **kwargs: arguments of `keras.Model`.

    Attributes:
        token_lookup: replaces the lookup in the token embedding; `None` for none.
        tuning: the attached tuning method; `None` for none.
        num_frozen_layers: how many layers, counted from the first, are frozen along with the embeddings; `None` if
            nothing is frozen.

    Raises:
        ValueError: the activation is unknown.

    Source: Devlin et al. 2019, "BERT", and KerasNLP's `BertBackbone`, which always uses the tanh approximation of GELU
        and a LayerNorm epsilon of 1e-12.
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        intermediate_dim: int,
        dropout: float = 0.1,
        max_sequence_length: int = 512,
        num_segments: int = 2,
        *,
        activation: str = KERASNLP_ACTIVATION,
        layer_norm_epsilon: float = KERASNLP_EPSILON,
        draw_weights: bool = True,
        fast: bool = True,
        product_dtype: str | None = None,
        dtype: str | None = None,
        **kwargs,
    ):
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; expected one of {', '.join(ACTIVATIONS)}")
        self.vocabulary_size, self.num_layers, self.num_heads = vocabulary_size, num_layers, num_heads
        self.hidden_dim, self.intermediate_dim, self.dropout = hidden_dim, intermediate_dim, dropout
        self.max_sequence_length, self.num_segments = max_sequence_length, num_segments
        self.activation, self.layer_norm_epsilon = activation, layer_norm_epsilon
        self.fast, self.product_dtype = fast, product_dtype
        self.draw_weights = draw_weights
        self.token_lookup: TokenLookup | None = None
        self.tuning: TuningMethod | None = None
        self.num_frozen_layers: int | None = None
        self._extensions: list[keras.layers.Layer] = []
        self._make_layers(dtype)
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in _INPUTS}
        super().__init__(inputs=inputs, outputs=self._compute(inputs), dtype=dtype, **kwargs)

    def _make_layers(self, dtype) -> None:
        # In KerasNLP's order, so that the same random state gives the same weights and the same dropout.
        options = {"dtype": dtype, "name": "token_embedding", "embeddings_initializer": self._initializer()}
        self.token_embedding = keras.layers.ReversibleEmbedding(self.vocabulary_size, self.hidden_dim, **options)
        self.position_embedding = PositionEmbedding(
            self.max_sequence_length, initializer=self._initializer(), dtype=dtype, name="position_embedding"
        )
        options |= {"name": "segment_embedding", "embeddings_initializer": self._initializer()}
        self.segment_embedding = keras.layers.Embedding(self.num_segments, self.hidden_dim, **options)
        self.embeddings_add = keras.layers.Add(dtype=dtype, name="embeddings_add")
        self.embeddings_layer_norm = keras.layers.LayerNormalization(
            epsilon=self.layer_norm_epsilon, dtype=dtype, name="embeddings_layer_norm"
        )
        self.embeddings_dropout = keras.layers.Dropout(self.dropout, dtype=dtype, name="embeddings_dropout")
        self.transformer_layers = [
            self._make_layer(
                dropout=self.dropout,
                activation=ACTIVATIONS[self.activation],
                layer_norm_epsilon=self.layer_norm_epsilon,
                kernel_initializer=self._initializer(),
                dtype=dtype,
                name=f"transformer_layer_{index}",
            )
            for index in range(self.num_layers)
        ]
        options = {"kernel_initializer": self._initializer(), "dtype": dtype, "name": "pooled_dense"}
        self.pooled_dense = keras.layers.Dense(self.hidden_dim, activation="tanh", **options)

    def _make_layer(self, **options) -> TransformerEncoder:
        own = {"fast": self.fast, "product_dtype": self.product_dtype}
        return EncoderLayer(self.intermediate_dim, self.num_heads, **own, **options)

    def _initializer(self) -> keras.initializers.Initializer:
        """Return an initializer with its own seed."""
        kind = keras.initializers.TruncatedNormal if self.draw_weights else PlaceholderZeros
        return kind(stddev=_INITIAL_DEVIATION)

    def embed(self, token_ids: tf.Tensor, segment_ids: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Return the input of the first layer: float `(batch, length, hidden_dim)`.

        Args:
            token_ids: integer `(batch, length)`.
            segment_ids: integer `(batch, length)`.
            training: whether dropout is active; it never is if the embeddings are frozen.
        """
        if self.token_lookup is None:
            tokens = self.token_embedding(token_ids)
        else:
            tokens = tf.cast(self.token_lookup.look_up(token_ids), self.token_embedding.compute_dtype)
        embeddings = (tokens, self.position_embedding(tokens), self.segment_embedding(segment_ids))
        normed = self.embeddings_layer_norm(self.embeddings_add(embeddings))
        return self.embeddings_dropout(normed, training=bool(training) and self.num_frozen_layers is None)

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool | None = None) -> dict[str, tf.Tensor]:
        """Encode a batch.

        Args:
            inputs: integer `token_ids`, `segment_ids` and `padding_mask`, each `(batch, length)`. The mask is nonzero
                for tokens.
            training: whether to compute as in training, with dropout.

        Returns:
            float `sequence_output` `(batch, length, hidden_dim)`, which has no meaning at padding, and `pooled_output`
            `(batch, hidden_dim)`.
        """
        return self._compute(inputs, training)

    def _compute(self, inputs, training=None):
        x = self.embed(inputs["token_ids"], inputs["segment_ids"], training)
        for index, layer in enumerate(self.transformer_layers):
            x = self._without_gradient(x, index)
            x = layer(x, padding_mask=inputs["padding_mask"], training=training)
        x = self._without_gradient(x, self.num_layers)
        return {"sequence_output": x, "pooled_output": self.pooled_dense(x[:, 0, :])}

    def _without_gradient(self, x, num_layers: int):
        # Nothing up to the last frozen layer is trained, so its gradient need not be computed.
        return tf.stop_gradient(x) if num_layers == self.num_frozen_layers else x

    def freeze(self, num_layers_to_train: int) -> None:
        """Freeze the embeddings and all but the last layers; frozen layers have no dropout in training.

        Frozen weights cannot adapt to dropout. Without it, their output for a text is the same in every epoch and can
        be reused.

        Args:
            num_layers_to_train: 0 or more. The pooler does not count as a layer and stays trainable.
        """
        assert 0 <= num_layers_to_train <= self.num_layers
        self.num_frozen_layers = self.num_layers - num_layers_to_train
        for layer in (self.token_embedding, self.position_embedding, self.segment_embedding):
            layer.trainable = False
        self.embeddings_layer_norm.trainable = False
        for layer in self.transformer_layers[: self.num_frozen_layers]:
            layer.freeze()

    def copy_kernels(self, dtype: str | None) -> None:
        """Make the fast layers infer with copies of their current kernels in another dtype.

        Functions that are already traced do not change.

        Args:
            dtype: dtype of the copies; `None` returns to the kernels themselves.
        """
        for layer in self.transformer_layers:
            layer.copy_kernels(dtype)

    @contextlib.contextmanager
    def kernels_copied(self, dtype: str | None) -> Iterator[None]:
        """Make functions that are traced in a `with` block infer with copies of the kernels; `None` makes no copies."""
        self.copy_kernels(dtype)
        try:
            yield
        finally:
            self.copy_kernels(None)

    def extend(self, point: ExtensionPoint, extension: keras.layers.Layer) -> None:
        """Attach an extension to a point of one of the layers; its weights become weights of the encoder.

        Args:
            point: a point without an extension.
            extension: a built layer that follows the protocol of the point.

        Raises:
            ValueError: the point already has an extension.
        """
        if point.extension is not None:
            raise ValueError(f"{extension.name}: the extension point already has {point.extension.name}")
        point.extension = extension
        self._extensions.append(extension)

    def remove_extension(self, point: ExtensionPoint) -> None:
        """Detach the extension of a point; its weights are no longer weights of the encoder."""
        self._extensions.remove(point.extension)
        point.extension = None

    def tune(self, method: TuningMethod) -> None:
        """Attach a tuning method, which decides what is trained.

        Raises:
            ValueError: a tuning method is already attached.
        """
        if self.tuning is not None:
            raise ValueError("the encoder already has a tuning method")
        method.attach(self)
        self.tuning = method

    def merge(self) -> None:
        """Let the tuning method, if any, merge its extensions into the weights; detach it if no extension remains."""
        if self.tuning is not None:
            self.tuning.merge(self)
            if not self._extensions:
                self.tuning = None

    @classmethod
    def from_preset(
        cls,
        preset: str,
        load_weights: bool = True,
        *,
        activation: str = KERASNLP_ACTIVATION,
        layer_norm_epsilon: float = KERASNLP_EPSILON,
        **kwargs,
    ) -> "BertEncoder":
        """Load a preset of KerasNLP's `BertBackbone`.

        Args:
            preset: a name or a directory that KerasNLP accepts.
            load_weights: if False, all kernels and embeddings are 0.
            activation: as for the constructor; a preset does not contain it.
            layer_norm_epsilon: as for the constructor; a preset does not contain it.
            **kwargs: arguments of `BertBackbone` that replace those of the preset.

        Raises:
            ValueError: the preset belongs to another class, or a weight is missing.
        """
        with keras.saving.custom_object_scope({"keras_hub>BertBackbone": _KerasNLPLayout}):
            loaded = super().from_preset(preset, load_weights, **kwargs)
        options = {name: getattr(loaded, name) for name in (*_SIZES, "dropout")} | {"dtype": loaded.dtype_policy}
        options |= {"activation": activation, "layer_norm_epsilon": layer_norm_epsilon, "draw_weights": False}
        encoder = cls(**options)
        copy_weights(loaded, encoder)
        return encoder

    def save_to_preset(self, preset_dir: str, max_shard_size: float = 10) -> None:
        """Write sizes and weights as a preset that KerasNLP's `BertBackbone.from_preset` reads.

        It does not contain the activation and the epsilon.

        Args:
            preset_dir: created if missing.
            max_shard_size: maximum size of a weights file in GB.

        Raises:
            ValueError: the encoder has extensions, which a preset cannot contain.
        """
        sizes = {name: getattr(self, name) for name in (*_SIZES, "dropout")}
        backbone = BertBackbone(**sizes, dtype=self.dtype_policy)
        copy_weights(self, backbone)
        backbone.save_to_preset(preset_dir, max_shard_size)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        names = (*_SIZES, "dropout", "activation", "layer_norm_epsilon", "draw_weights", "fast", "product_dtype")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


class _KerasNLPLayout(BertEncoder):
    """An encoder with KerasNLP's own layers, after whose class the weights in a preset are named; used to load presets.

    Loading into KerasNLP's `BertBackbone` would draw random weights first.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, draw_weights=False, **kwargs)

    def _make_layer(self, **options):
        return TransformerEncoder(self.intermediate_dim, self.num_heads, **options)


def build_encoder(
    spec: EncoderSpec, *, dropout: float, dtype: str = "float32", product_dtype: str | None = None, fast: bool = True
) -> BertEncoder:
    """Return an encoder with the architecture of a spec; its weights must be set afterwards.

    Args:
        spec: its dropout is not used.
        dropout: as for `BertEncoder`.
        dtype: Keras dtype policy.
        product_dtype: as for `EncoderLayer`.
        fast: as for `EncoderLayer`.
    """
    architecture = {name: getattr(spec, name) for name in (*_SIZES, "activation", "layer_norm_epsilon")}
    options = {"dropout": dropout, "dtype": dtype, "product_dtype": product_dtype, "fast": fast}
    return BertEncoder(**architecture | options, draw_weights=False)
