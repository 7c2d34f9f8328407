"""One layer of BERT, built by KerasNLP, in; the same layer in fewer passes over memory, and fewer steps, out."""

from collections.abc import Callable

import keras
import tensorflow as tf
from keras_hub.layers import TransformerEncoder

from tfbert.encoder import attention, elementwise


def use_in(layer: TransformerEncoder, products: str | None = None, matrices: str | None = None) -> None:
    """Let a built layer that normalizes last compute by our functions; weights and random states stay what they are.

    Args:
        layer: changed in place.
        products: dtype in which training multiplies matrices; `None` for the layer's own. What is between products,
            and what is learned, stays in the layer's own.
        matrices: dtype in which answering multiplies, by copies of the matrices as they are now; `None` for the
            matrices themselves, in the layer's own.

    Source: KerasNLP's `TransformerEncoder.call`. Ours leaves to it what BERT does not ask for: attention
        scores, and masks by query.
    """
    by_kerasnlp = type(layer).call.__get__(layer)
    # Kept, not cast from the layer's own: that a server would do anew for every request.
    copies = {}
    if matrices:
        copies = {dense: tf.Variable(tf.cast(dense.kernel.value, matrices)) for dense in _denses(layer)}

    def product(rows, dense, result=None):
        return _product(rows, dense, matrices, copies.get(dense), result)

    def call(inputs, padding_mask=None, attention_mask=None, training=None, return_attention_scores=False):
        if padding_mask is None or attention_mask is not None or return_attention_scores:
            return by_kerasnlp(inputs, padding_mask, attention_mask, training, return_attention_scores)
        if training:
            return _learn(layer, inputs, padding_mask, products)
        return _answer(layer, inputs, padding_mask, product, matrices)

    layer.call = call


def _denses(layer: TransformerEncoder) -> list[keras.layers.Dense | keras.layers.EinsumDense]:
    heads = layer._self_attention_layer
    of_attention = [heads._query_dense, heads._key_dense, heads._value_dense, heads._output_dense]
    return [*of_attention, layer._feedforward_intermediate_dense, layer._feedforward_output_dense]


def _learn(layer: TransformerEncoder, inputs, padding_mask, products: str | None):
    """Compute as in training: with dropout, and with gradients of our own between the matrix products."""
    heads = layer._self_attention_layer
    shape, by_head = tf.shape(inputs), _shape_by_head(heads, inputs)
    rows = tf.reshape(inputs, [-1, inputs.shape[-1]])
    query, key, value = (
        tf.reshape(_product(rows, dense, products), by_head)
        for dense in (heads._query_dense, heads._key_dense, heads._value_dense)
    )
    rate = heads._dropout
    seed = heads._dropout_layer.seed_generator.next() if rate else None
    found = attention.attend(query, key, value, padding_mask[:, None], rate, seed)
    found = _product(tf.reshape(found, [-1, heads._num_heads * heads._key_dim]), heads._output_dense, products)
    middle = _add_and_norm(
        tf.reshape(found, shape), inputs, layer._self_attention_dropout, layer._self_attention_layer_norm
    )
    wide = layer._feedforward_intermediate_dense
    activation = elementwise.gelu if wide.activation is keras.activations.gelu else wide.activation
    found = activation(_product(tf.reshape(middle, [-1, inputs.shape[-1]]), wide, products))
    found = tf.reshape(_product(found, layer._feedforward_output_dense, products), shape)
    return _add_and_norm(found, middle, layer._feedforward_dropout, layer._feedforward_layer_norm)


def _add_and_norm(x, residual, dropout: keras.layers.Dropout, norm: keras.layers.LayerNormalization):
    gamma, beta = (tf.convert_to_tensor(weight.value) for weight in (norm.gamma, norm.beta))
    seed = dropout.seed_generator.next() if dropout.rate else None
    return elementwise.add_and_norm(x, residual, gamma, beta, epsilon=norm.epsilon, rate=dropout.rate, seed=seed)


def _answer(layer: TransformerEncoder, inputs, padding_mask, product: Callable, matrices: str | None):
    """Compute as in answering, and in what is exported: products of two matrices, which TensorFlow joins with biases.

    Keras writes them as `einsum` with reshapes and casts around. For a short text, whose products are small, such steps
    are most of the time. Rows of the matrices are tokens, without the padding: of a batch of short texts it is easily
    half. Attention alone wants the texts side by side. What comes out for padding has no meaning.

    Args:
        layer: built.
        inputs: float `(batch, length, hidden)`.
        padding_mask: `(batch, length)`, not 0 for tokens.
        product: from rows and one of the layer's dense layers to what `_product` returns.
        matrices: dtype of that product; `None` for that of its rows.

    Source: leaving out padding around attention is from ByteDance's "Effective Transformer" (2020).
    """
    heads = layer._self_attention_layer
    by_head = _shape_by_head(heads, inputs)
    places, row_of = _without_padding(padding_mask)
    rows = tf.gather(tf.reshape(inputs, [-1, inputs.shape[-1]]), places)
    query, key, value = (
        tf.reshape(tf.gather(product(rows, dense), row_of), by_head)
        for dense in (heads._query_dense, heads._key_dense, heads._value_dense)
    )
    found = attention.attend(query, key, value, padding_mask[:, None], rate=0.0, seed=None)
    found = tf.gather(tf.reshape(found, [-1, heads._num_heads * heads._key_dim]), places)
    middle = _norm(product(found, heads._output_dense) + rows, layer._self_attention_layer_norm)
    wide, narrow = layer._feedforward_intermediate_dense, layer._feedforward_output_dense
    # In the dtype of the matrices, so that TensorFlow joins product, bias and activation.
    found = product(wide.activation(product(middle, wide, result=matrices)), narrow, result=middle.dtype)
    return tf.reshape(tf.gather(_norm(found + middle, layer._feedforward_layer_norm), row_of), tf.shape(inputs))


def _without_padding(padding_mask):
    """Return where tokens are among all positions of a batch, and for every position which of these stands for it.

    Args:
        padding_mask: `(batch, length)`, not 0 for tokens.

    Returns:
        int64 `(tokens,)` and int32 `(batch * length,)`. For padding stands the token before it. The first position
        counts as a token whatever it is, so that there is one.
    """
    is_token = tf.reshape(tf.cast(padding_mask, tf.bool), [-1])
    is_token |= tf.equal(tf.range(tf.size(is_token)), 0)
    return tf.where(is_token)[:, 0], tf.cumsum(tf.cast(is_token, tf.int32)) - 1


def _shape_by_head(heads: keras.layers.MultiHeadAttention, inputs) -> list:
    shape = tf.shape(inputs)
    return [shape[0], shape[1], heads._num_heads, heads._key_dim]


def _product(
    rows,
    dense: keras.layers.Dense | keras.layers.EinsumDense,
    dtype: str | None = None,
    kernel: tf.Variable | None = None,
    result: str | None = None,
):
    """Return what a layer makes of rows `(tokens, size)` before its activation, its outputs in one row each.

    Args:
        rows: float.
        dense: the layer.
        dtype: to multiply in; `None` for that of the rows.
        kernel: taken in place of the layer's.
        result: dtype of the result; `None` for that of the rows.
    """
    dtype, result = dtype or rows.dtype, result or rows.dtype
    kernel = tf.reshape(dense.kernel if kernel is None else kernel, [rows.shape[-1], -1])
    found = tf.cast(tf.matmul(tf.cast(rows, dtype), tf.cast(kernel, dtype)), result)
    return tf.nn.bias_add(found, tf.cast(tf.reshape(dense.bias, [-1]), result))


def _norm(rows, norm: keras.layers.LayerNormalization):
    centred, inverse = elementwise.centre(tf.cast(rows, tf.float32), norm.epsilon)
    return tf.cast(centred * (inverse * norm.gamma) + norm.beta, rows.dtype)
