"""One layer of BERT, built by KerasNLP, in; the same layer with fewer passes over memory in training out."""

import keras
import tensorflow as tf
from keras_hub.layers import TransformerEncoder

from tfbert.encoder import attention, elementwise


def use_in(layer: TransformerEncoder) -> None:
    """Let a built layer that normalizes last compute by our functions; weights and random states stay what they are.

    Outside of training only attention is ours, so that what is exported has the shapes that TensorFlow fuses.

    Source: KerasNLP's `TransformerEncoder.call`. Ours leaves to it what BERT does not ask for: attention
        scores, and masks by query.
    """
    attention.use_in(layer._self_attention_layer)
    by_kerasnlp = type(layer).call.__get__(layer)

    def call(inputs, padding_mask=None, attention_mask=None, training=None, return_attention_scores=False):
        if not training or padding_mask is None or attention_mask is not None or return_attention_scores:
            return by_kerasnlp(inputs, padding_mask, attention_mask, training, return_attention_scores)
        x = layer._self_attention_layer(inputs, inputs, attention_mask=padding_mask[:, None], training=training)
        middle = _add_and_norm(x, inputs, layer._self_attention_dropout, layer._self_attention_layer_norm)
        x = _dense(middle, layer._feedforward_intermediate_dense)
        x = layer._feedforward_output_dense(x)
        return _add_and_norm(x, middle, layer._feedforward_dropout, layer._feedforward_layer_norm)

    layer.call = call


def _add_and_norm(x, residual, dropout: keras.layers.Dropout, norm: keras.layers.LayerNormalization):
    gamma, beta = (tf.convert_to_tensor(weight.value) for weight in (norm.gamma, norm.beta))
    seed = dropout.seed_generator.next() if dropout.rate else None
    return elementwise.add_and_norm(x, residual, gamma, beta, epsilon=norm.epsilon, rate=dropout.rate, seed=seed)


def _dense(x, layer: keras.layers.Dense):
    """Compute what Keras' layer does, with our gelu in place of its own."""
    activation = elementwise.gelu if layer.activation is keras.activations.gelu else layer.activation
    return activation(keras.ops.matmul(x, layer.kernel) + layer.bias)
