"""One layer of BERT, built by KerasNLP, in; the same layer in fewer passes over memory, and fewer steps, out."""

import keras
import tensorflow as tf
from keras_hub.layers import TransformerEncoder

from tfbert.encoder import attention, elementwise


def use_in(layer: TransformerEncoder) -> None:
    """Let a built layer that normalizes last compute by our functions; weights and random states stay what they are.

    Source: KerasNLP's `TransformerEncoder.call`. Ours leaves to it what BERT does not ask for: attention
        scores, and masks by query.
    """
    attention.use_in(layer._self_attention_layer)
    by_kerasnlp = type(layer).call.__get__(layer)

    def call(inputs, padding_mask=None, attention_mask=None, training=None, return_attention_scores=False):
        if padding_mask is None or attention_mask is not None or return_attention_scores:
            return by_kerasnlp(inputs, padding_mask, attention_mask, training, return_attention_scores)
        return (_learn if training else _answer)(layer, inputs, padding_mask)

    layer.call = call


def _learn(layer: TransformerEncoder, inputs, padding_mask):
    """Compute as in training: with dropout, and with gradients of our own between the matrix products."""
    x = layer._self_attention_layer(inputs, inputs, attention_mask=padding_mask[:, None], training=True)
    middle = _add_and_norm(x, inputs, layer._self_attention_dropout, layer._self_attention_layer_norm)
    x = _dense(middle, layer._feedforward_intermediate_dense)
    x = layer._feedforward_output_dense(x)
    return _add_and_norm(x, middle, layer._feedforward_dropout, layer._feedforward_layer_norm)


def _add_and_norm(x, residual, dropout: keras.layers.Dropout, norm: keras.layers.LayerNormalization):
    gamma, beta = (tf.convert_to_tensor(weight.value) for weight in (norm.gamma, norm.beta))
    seed = dropout.seed_generator.next() if dropout.rate else None
    return elementwise.add_and_norm(x, residual, gamma, beta, epsilon=norm.epsilon, rate=dropout.rate, seed=seed)


def _dense(x, layer: keras.layers.Dense):
    """Compute what Keras' layer does, with our gelu in place of its own."""
    activation = elementwise.gelu if layer.activation is keras.activations.gelu else layer.activation
    return activation(keras.ops.matmul(x, layer.kernel) + layer.bias)


def _answer(layer: TransformerEncoder, inputs, padding_mask):
    """Compute as in answering, and in what is exported: products of two matrices, which TensorFlow joins with biases.

    Keras writes them as `einsum` with reshapes and casts around. For a short text, whose products are small, such steps
    are most of the time. Rows of the matrices are tokens, without the padding: of a batch of short texts it is easily
    half. Attention alone wants the texts side by side. What comes out for padding has no meaning.

    Source: leaving out padding around attention is from ByteDance's "Effective Transformer" (2020).
    """
    heads = layer._self_attention_layer
    size = heads._key_dim
    shape = tf.shape(inputs)
    by_head = [shape[0], shape[1], heads._num_heads, size]
    places, row_of = _without_padding(padding_mask)
    rows = tf.gather(tf.reshape(inputs, [-1, inputs.shape[-1]]), places)
    query, key, value = (
        tf.reshape(tf.gather(_product(rows, dense), row_of), by_head)
        for dense in (heads._query_dense, heads._key_dense, heads._value_dense)
    )
    scaled = query * tf.cast(heads._inverse_sqrt_key_dim, query.dtype)
    found = attention.attend(scaled, key, value, padding_mask[:, None], rate=0.0, seed=None)
    found = tf.gather(tf.reshape(found, [-1, heads._num_heads * size]), places)
    middle = _norm(_product(found, heads._output_dense) + rows, layer._self_attention_layer_norm)
    wide = layer._feedforward_intermediate_dense
    found = _product(wide.activation(_product(middle, wide)), layer._feedforward_output_dense)
    return tf.reshape(tf.gather(_norm(found + middle, layer._feedforward_layer_norm), row_of), shape)


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


def _product(rows, dense: keras.layers.Dense | keras.layers.EinsumDense):
    """Return what a layer makes of rows `(tokens, size)` before its activation, its outputs in one row each."""
    kernel = tf.cast(tf.reshape(dense.kernel, [rows.shape[-1], -1]), rows.dtype)
    return tf.nn.bias_add(tf.matmul(rows, kernel), tf.cast(tf.reshape(dense.bias, [-1]), rows.dtype))


def _norm(rows, norm: keras.layers.LayerNormalization):
    centred, inverse = elementwise.centre(tf.cast(rows, tf.float32), norm.epsilon)
    return tf.cast(centred * (inverse * norm.gamma) + norm.beta, rows.dtype)
