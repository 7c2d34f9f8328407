"""The encoder layer: KerasNLP's `TransformerEncoder`, computed in fewer passes over memory, with extension points."""

from typing import Literal

import keras
import tensorflow as tf
from keras_hub.layers import TransformerEncoder

from tfbert.encoder import attention, elementwise, kerasnlp
from tfbert.encoder.extension_points import KeysValues, Product, SublayerEnd

ProductName = Literal["query", "key", "value", "attention_output", "feedforward_in", "feedforward_out"]


@keras.saving.register_keras_serializable("tfbert")
class EncoderLayer(TransformerEncoder):
    """A KerasNLP encoder layer with a faster computation of its own and with extension points.

    Weights, their names and the random states are those of `TransformerEncoder`.

    Args:
        intermediate_dim: size of the feed-forward sublayer.
        num_heads: attention heads.
        fast: whether to compute by tfbert's functions, which equal KerasNLP's within rounding.
        product_dtype: dtype in which fast training multiplies matrices; `None` for that of the layer. All else, and
            the weights, stay in the layer's own dtypes.
        **kwargs: of `TransformerEncoder`. `normalize_first` must be False, as in BERT.

    Attributes:
        products: the extension points of the six matrix products by name; after `build`.
        attention_end: the extension point at the end of the attention sublayer.
        feedforward_end: the extension point at the end of the feed-forward sublayer.
        keys_values: the extension point of keys and values.
        is_frozen: whether the layer computes without dropout, even in training.

    Raises:
        ValueError: `normalize_first` is true.

    Source: KerasNLP's `TransformerEncoder`. What BERT does not use, attention scores and masks per query, is computed
        by KerasNLP's code.
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
            raise ValueError("normalize_first=True: an EncoderLayer normalizes last, as BERT does")
        super().__init__(intermediate_dim, num_heads, **kwargs)
        self.fast, self.product_dtype = fast, product_dtype
        self.products: dict[ProductName, Product] = {}
        self.attention_end, self.feedforward_end = SublayerEnd(), SublayerEnd()
        self.keys_values = KeysValues()
        self.is_frozen = False

    def build(self, inputs_shape) -> None:
        """Make the weights for inputs `(batch, length, hidden_dim)`."""
        super().build(inputs_shape)
        heads, parts = self.parts.attention, self.parts
        self.products = {
            "query": Product(heads.query_dense),
            "key": Product(heads.key_dense),
            "value": Product(heads.value_dense),
            "attention_output": Product(heads.output_dense),
            "feedforward_in": Product(parts.feedforward_in),
            "feedforward_out": Product(parts.feedforward_out),
        }

    @property
    def parts(self) -> kerasnlp.LayerParts:
        """The Keras layers that this one consists of; after `build`."""
        return kerasnlp.layer_parts(self)

    def freeze(self) -> None:
        """Stop learning: no trainable weights and no dropout from now on; for use before anything is traced."""
        self.trainable = False
        self.is_frozen = True

    def copy_kernels(self, dtype: str | None) -> None:
        """Let fast inference multiply in another dtype, by copies of the kernels as they are now.

        Args:
            dtype: of the copies; `None` returns to the kernels themselves.
        """
        for product in self.products.values():
            product.copy_kernel(dtype)

    def call(self, inputs, padding_mask=None, attention_mask=None, training=None, return_attention_scores=False):
        """Return what the layer makes of its inputs: float `(batch, length, hidden_dim)`.

        Args:
            inputs: float `(batch, length, hidden_dim)`.
            padding_mask: `(batch, length)`, nonzero for tokens. The output at padding has no meaning.
            attention_mask: `(batch, length, length)`, nonzero where a query may look; `None` for everywhere.
            training: whether to compute as in training: with dropout, and with gradients of our own.
            return_attention_scores: whether to return the scores `(batch, num_heads, length, length)` too.
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
        """Compute as in training, with gradients of our own between the matrix products."""
        parts = self.parts
        shape, by_head = tf.shape(inputs), self._shape_by_head(inputs)
        rows = tf.reshape(inputs, [-1, inputs.shape[-1]])
        query, key, value = (
            tf.reshape(self.products[name].train(rows, self.product_dtype), by_head)
            for name in ("query", "key", "value")
        )
        key, value, mask = self.keys_values.prepend(key, value, padding_mask[:, None])
        rate, seed = self._dropout_state(kerasnlp.score_dropout(parts.attention))
        attended = attention.attend(query, key, value, mask, rate, seed)
        attended = tf.reshape(attended, [-1, by_head[2] * by_head[3]])
        output = self.products["attention_output"].train(attended, self.product_dtype)
        middle = self._add_and_norm(
            tf.reshape(output, shape), inputs, parts.attention_dropout, self.attention_end, parts.attention_norm
        )
        activation = parts.feedforward_in.activation
        activation = elementwise.gelu if activation is keras.activations.gelu else activation
        rows = tf.reshape(middle, [-1, inputs.shape[-1]])
        wide = activation(self.products["feedforward_in"].train(rows, self.product_dtype))
        output = self.products["feedforward_out"].train(wide, self.product_dtype)
        return self._add_and_norm(
            tf.reshape(output, shape), middle, parts.feedforward_dropout, self.feedforward_end, parts.feedforward_norm
        )

    def _dropout_state(self, dropout: keras.layers.Dropout) -> tuple[float, tf.Tensor | None]:
        """Return the rate of a dropout layer, and the next seed if the rate is not 0."""
        rate = 0.0 if self.is_frozen else dropout.rate
        return rate, dropout.seed_generator.next() if rate else None

    def _add_and_norm(self, output, residual, dropout, end: SublayerEnd, norm: keras.layers.LayerNormalization):
        rate, seed = self._dropout_state(dropout)
        if end.extension is not None:
            output, rate = end(elementwise.dropout(output, rate, seed)), 0.0
        gamma, beta = (tf.convert_to_tensor(weight.value) for weight in (norm.gamma, norm.beta))
        return elementwise.add_and_norm(output, residual, gamma, beta, epsilon=norm.epsilon, rate=rate, seed=seed)

    def _infer(self, inputs, padding_mask):
        """Compute as in inference and export: products of two matrices, which TensorFlow fuses with their biases.

        Keras writes them as `einsum` with reshapes and casts around. For a short text, whose products are small, such
        steps take most of the time. The rows of a product are tokens without the padding, which is easily half of a
        batch of short texts. Only attention needs the sequences side by side.

        Source: leaving out padding around attention is from ByteDance's "Effective Transformer" (2020).
        """
        parts, by_head = self.parts, self._shape_by_head(inputs)
        token_positions, row_of = _without_padding(padding_mask)
        rows = tf.gather(tf.reshape(inputs, [-1, inputs.shape[-1]]), token_positions)
        query, key, value = (
            tf.reshape(tf.gather(self.products[name].infer(rows), row_of), by_head)
            for name in ("query", "key", "value")
        )
        key, value, mask = self.keys_values.prepend(key, value, padding_mask[:, None])
        attended = attention.attend(query, key, value, mask, rate=0.0, seed=None)
        attended = tf.gather(tf.reshape(attended, [-1, by_head[2] * by_head[3]]), token_positions)
        output = self.attention_end(self.products["attention_output"].infer(attended))
        middle = _norm(output + rows, parts.attention_norm)
        # The product stays in the dtype of the multiplication, so that TensorFlow fuses it with bias and activation.
        first, second = self.products["feedforward_in"], self.products["feedforward_out"]
        wide = parts.feedforward_in.activation(first.infer(middle, first.inference_dtype))
        output = self.feedforward_end(second.infer(wide, middle.dtype))
        rows = _norm(output + middle, parts.feedforward_norm)
        return tf.reshape(tf.gather(rows, row_of), tf.shape(inputs))

    def _call_extended(self, inputs, padding_mask, attention_mask, training, return_scores):
        """Compute as KerasNLP does, by Keras' layers, with the extensions."""
        parts = self.parts
        query, key, value = (self.products[name].by_keras(inputs) for name in ("query", "key", "value"))
        mask = tf.ones(tf.stack([tf.shape(inputs)[0], 1, tf.shape(inputs)[1]]), tf.bool)
        for given in (padding_mask if padding_mask is None else padding_mask[:, None], attention_mask):
            mask = mask if given is None else mask & tf.cast(given, tf.bool)
        key, value, mask = self.keys_values.prepend(key, value, mask)
        attended, scores = kerasnlp.attend(parts.attention, query, key, value, mask, training, return_scores)
        output = self.products["attention_output"].by_keras(attended)
        output = self.attention_end(parts.attention_dropout(output, training=training))
        middle = parts.attention_norm(output + inputs)
        output = self.products["feedforward_out"].by_keras(self.products["feedforward_in"].by_keras(middle))
        output = self.feedforward_end(parts.feedforward_dropout(output, training=training))
        return parts.feedforward_norm(output + middle), scores

    def _shape_by_head(self, inputs) -> list:
        shape, heads = tf.shape(inputs), self.parts.attention
        return [shape[0], shape[1], heads.num_heads, heads.key_dim]


def _without_padding(padding_mask):
    """Return the positions of the tokens of a batch, and for every position the token whose row stands for it.

    Args:
        padding_mask: `(batch, length)`, nonzero for tokens.

    Returns:
        int64 `(num_tokens,)` and int32 `(batch * length,)`. Padding gets the row of the token before it. The first
        position counts as a token in any case, so that there is one.
    """
    is_token = tf.reshape(tf.cast(padding_mask, tf.bool), [-1])
    is_token |= tf.equal(tf.range(tf.size(is_token)), 0)
    return tf.where(is_token)[:, 0], tf.cumsum(tf.cast(is_token, tf.int32)) - 1


def _norm(rows, norm: keras.layers.LayerNormalization):
    centred, inverse = elementwise.centre(tf.cast(rows, tf.float32), norm.epsilon)
    return tf.cast(centred * (inverse * norm.gamma) + norm.beta, rows.dtype)
