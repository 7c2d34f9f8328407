"""Encoder layer: KerasNLP's `TransformerEncoder` with a faster computation and extension points."""

from typing import Literal

import keras
import tensorflow as tf
from keras_hub.layers import TransformerEncoder

from tfbert.encoder import attention, elementwise, kerasnlp
from tfbert.encoder.elementwise import NO_DROPOUT, DropoutState
from tfbert.encoder.extension_points import KeysValues, Product, SublayerEnd

ProductName = Literal["query", "key", "value", "attention_output", "feedforward_in", "feedforward_out"]


@keras.saving.register_keras_serializable("tfbert")
class EncoderLayer(TransformerEncoder):
    """A KerasNLP encoder layer with a faster computation and with extension points.

    It has the weights, their names and the random states of `TransformerEncoder`.

    Args:
        intermediate_dim: size of the feed-forward sublayer.
        num_heads: attention heads.
        fast: whether to use tfbert's computation, which equals KerasNLP's except for rounding.
        product_dtype: dtype in which fast training multiplies matrices; `None` for that of the layer. Weights and other
            operations stay in the layer's own dtypes.
        normalize_first: must be False, as in BERT.
        **kwargs: arguments of `TransformerEncoder`.

    Attributes:
        products: the extension points of the six matrix products by name, once the layer is built.
        attention_end: the extension point at the end of the attention sublayer.
        feedforward_end: the extension point at the end of the feed-forward sublayer.
        keys_values: the extension point of keys and values.
        is_frozen: whether the layer computes without dropout, even in training.

    Raises:
        ValueError: `normalize_first` is true.

    Source: KerasNLP's `TransformerEncoder`. For features that BERT does not use, attention scores and masks per query,
        KerasNLP's own code runs.
    """

    def __init__(
        self,
        intermediate_dim: int,
        num_heads: int,
        *,
        fast: bool = True,
        product_dtype: str | None = None,
        normalize_first: bool = False,
        **kwargs,
    ):
        if normalize_first:
            raise ValueError("normalize_first is True; expected False: an EncoderLayer normalizes last, as BERT does")
        super().__init__(intermediate_dim, num_heads, **kwargs)
        self.fast, self.product_dtype = fast, product_dtype
        self.products: dict[ProductName, Product] = {}
        self.attention_end, self.feedforward_end = SublayerEnd(), SublayerEnd()
        self.keys_values = KeysValues()
        self.is_frozen = False

    def build(self, inputs_shape) -> None:
        """Create the weights for inputs `(batch, length, hidden_dim)`."""
        super().build(inputs_shape)
        components = self.components
        attention_layer = components.attention
        self.products = {
            "query": Product(attention_layer.query_dense),
            "key": Product(attention_layer.key_dense),
            "value": Product(attention_layer.value_dense),
            "attention_output": Product(attention_layer.output_dense),
            "feedforward_in": Product(components.feedforward_in),
            "feedforward_out": Product(components.feedforward_out),
        }

    @property
    def components(self) -> kerasnlp.EncoderLayerComponents:
        """The Keras layers inside this layer, once it is built."""
        return kerasnlp.encoder_layer_components(self)

    def freeze(self) -> None:
        """Make all weights untrainable and turn dropout off; must be called before any function is traced."""
        self.trainable = False
        self.is_frozen = True

    def copy_kernels(self, dtype: str | None) -> None:
        """Make fast inference multiply in another dtype, by copies of the current kernels.

        Args:
            dtype: dtype of the copies; `None` returns to the kernels themselves.
        """
        for product in self.products.values():
            product.copy_kernel(dtype)

    def call(self, inputs, padding_mask=None, attention_mask=None, training=None, return_attention_scores=False):
        """Return the output of the layer: float `(batch, length, hidden_dim)`.

        Args:
            inputs: float `(batch, length, hidden_dim)`.
            padding_mask: `(batch, length)`, nonzero for tokens. The output at padding has no meaning.
            attention_mask: `(batch, length, length)`, nonzero where a query may attend; `None` for everywhere.
            training: whether to compute as in training, with dropout and hand-written gradients.
            return_attention_scores: whether to also return the scores `(batch, num_heads, length, length)`.
        """
        is_plain = padding_mask is not None and attention_mask is None and not return_attention_scores
        if self.fast and is_plain:
            return self._train(inputs, padding_mask) if training else self._infer(inputs, padding_mask)
        has_dropout = bool(training) and not self.is_frozen
        if not self._is_extended:
            return super().call(inputs, padding_mask, attention_mask, has_dropout, return_attention_scores)
        output, scores = self._call_extended(inputs, padding_mask, attention_mask, has_dropout, return_attention_scores)
        return (output, scores) if return_attention_scores else output

    def get_config(self) -> dict:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "fast": self.fast, "product_dtype": self.product_dtype}

    @property
    def _is_extended(self) -> bool:
        points = [*self.products.values(), self.attention_end, self.feedforward_end, self.keys_values]
        return any(point.extension is not None for point in points)

    def _train(self, inputs, padding_mask):
        """Compute as in training, with hand-written gradients between the matrix products."""
        components = self.components
        shape, by_head = tf.shape(inputs), self._shape_by_head(inputs)
        vectors = tf.reshape(inputs, [-1, inputs.shape[-1]])
        query, key, value = (
            tf.reshape(self.products[name].train(vectors, self.product_dtype), by_head)
            for name in ("query", "key", "value")
        )
        key, value, mask = self.keys_values.prepend(key, value, padding_mask[:, None])
        dropout = self._next_dropout(kerasnlp.attention_weight_dropout(components.attention))
        attended = attention.attend(query, key, value, mask, dropout)
        attended = tf.reshape(attended, [-1, by_head[2] * by_head[3]])
        output = self.products["attention_output"].train(attended, self.product_dtype)
        middle = self._add_and_norm(
            tf.reshape(output, shape),
            inputs,
            components.attention_dropout,
            self.attention_end,
            components.attention_norm,
        )
        activation = components.feedforward_in.activation
        activation = elementwise.gelu if activation is keras.activations.gelu else activation
        vectors = tf.reshape(middle, [-1, inputs.shape[-1]])
        intermediate = activation(self.products["feedforward_in"].train(vectors, self.product_dtype))
        output = self.products["feedforward_out"].train(intermediate, self.product_dtype)
        return self._add_and_norm(
            tf.reshape(output, shape),
            middle,
            components.feedforward_dropout,
            self.feedforward_end,
            components.feedforward_norm,
        )

    def _next_dropout(self, layer: keras.layers.Dropout) -> DropoutState:
        """Return the rate of a dropout layer, and its next seed if the rate is not 0."""
        if self.is_frozen or not layer.rate:
            return NO_DROPOUT
        return DropoutState(layer.rate, layer.seed_generator.next())

    def _add_and_norm(
        self,
        output: tf.Tensor,
        residual: tf.Tensor,
        dropout_layer: keras.layers.Dropout,
        end: SublayerEnd,
        norm: keras.layers.LayerNormalization,
    ) -> tf.Tensor:
        dropout = self._next_dropout(dropout_layer)
        if end.extension is not None:
            output, dropout = end(elementwise.apply_dropout(output, dropout)), NO_DROPOUT
        gamma, beta = (tf.convert_to_tensor(weight.value) for weight in (norm.gamma, norm.beta))
        return elementwise.add_and_norm(output, residual, gamma, beta, epsilon=norm.epsilon, dropout=dropout)

    def _infer(self, inputs, padding_mask):
        """Compute as in inference and export: products of two matrices, which TensorFlow fuses with their biases.

        Keras uses `einsum` with reshapes and casts around it. For a short text, whose products are small, these steps
        take most of the time. The products are computed for tokens without padding, which often is half of a batch of
        short texts. Only attention needs whole sequences.

        Source: ByteDance's "Effective Transformer" (2020), for removing the padding around attention.
        """
        components, by_head = self.components, self._shape_by_head(inputs)
        token_positions, token_of_position = _without_padding(padding_mask)
        vectors = tf.gather(tf.reshape(inputs, [-1, inputs.shape[-1]]), token_positions)
        query, key, value = (
            tf.reshape(tf.gather(self.products[name].infer(vectors), token_of_position), by_head)
            for name in ("query", "key", "value")
        )
        key, value, mask = self.keys_values.prepend(key, value, padding_mask[:, None])
        attended = attention.attend(query, key, value, mask, NO_DROPOUT)
        attended = tf.gather(tf.reshape(attended, [-1, by_head[2] * by_head[3]]), token_positions)
        output = self.attention_end(self.products["attention_output"].infer(attended))
        middle = _norm(output + vectors, components.attention_norm)
        # The product stays in the dtype of the multiplication, so that TensorFlow fuses it with bias and activation.
        first, second = self.products["feedforward_in"], self.products["feedforward_out"]
        intermediate = components.feedforward_in.activation(first.infer(middle, first.inference_dtype))
        output = self.feedforward_end(second.infer(intermediate, middle.dtype))
        vectors = _norm(output + middle, components.feedforward_norm)
        return tf.reshape(tf.gather(vectors, token_of_position), tf.shape(inputs))

    def _call_extended(self, inputs, padding_mask, attention_mask, training, return_scores):
        """Compute with Keras' layers, as KerasNLP does, and with the extensions."""
        components = self.components
        query, key, value = (self.products[name].compute_with_keras(inputs) for name in ("query", "key", "value"))
        mask = tf.ones(tf.stack([tf.shape(inputs)[0], 1, tf.shape(inputs)[1]]), tf.bool)
        if padding_mask is not None:
            mask &= tf.cast(padding_mask[:, None], tf.bool)
        if attention_mask is not None:
            mask &= tf.cast(attention_mask, tf.bool)
        key, value, mask = self.keys_values.prepend(key, value, mask)
        attended, scores = kerasnlp.attend(
            components.attention, query, key, value, mask=mask, training=training, return_scores=return_scores
        )
        output = self.products["attention_output"].compute_with_keras(attended)
        output = self.attention_end(components.attention_dropout(output, training=training))
        middle = components.attention_norm(output + inputs)
        intermediate = self.products["feedforward_in"].compute_with_keras(middle)
        output = self.products["feedforward_out"].compute_with_keras(intermediate)
        output = self.feedforward_end(components.feedforward_dropout(output, training=training))
        return components.feedforward_norm(output + middle), scores

    def _shape_by_head(self, inputs) -> list:
        shape, attention_layer = tf.shape(inputs), self.components.attention
        return [shape[0], shape[1], attention_layer.num_heads, attention_layer.key_dim]


def _without_padding(padding_mask):
    """Return the positions of the tokens of a batch, and for every position the index of a token.

    Args:
        padding_mask: `(batch, length)`, nonzero for tokens.

    Returns:
        int64 `(num_tokens,)` and int32 `(batch * length,)`. A padding position gets the index of the token before it.
        The first position always counts as a token, so that there is at least one.
    """
    is_token = tf.reshape(tf.cast(padding_mask, tf.bool), [-1])
    is_token |= tf.equal(tf.range(tf.size(is_token)), 0)
    return tf.where(is_token)[:, 0], tf.cumsum(tf.cast(is_token, tf.int32)) - 1


def _norm(vectors, norm: keras.layers.LayerNormalization):
    centred, inverse_deviation = elementwise.centre(tf.cast(vectors, tf.float32), norm.epsilon)
    return tf.cast(centred * (inverse_deviation * norm.gamma) + norm.beta, vectors.dtype)
