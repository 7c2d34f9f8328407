"""What is frozen gets no gradient and answers alike in training and after; what is not learns as before.

Weights that are set later are not drawn, and what is drawn beside them is what it would have been.
"""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_hub.models import BertBackbone
from support.rounding import assert_near, distance, relative_error

from tfbert.encoder.computation import answering_in, build_backbone, check_layers, freeze, no_weights_drawn

# Two layers of six products each; the longest sum is that of the dense layer of 12.
ROUNDED = {"length": 12, "depth": 12}
FACTS = {
    "vocabulary_size": 20,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 12,
    "max_sequence_length": 6,
    "num_segments": 2,
    "activation": "gelu",
    "layer_norm_epsilon": 1e-12,
}
INPUTS = {
    "token_ids": tf.constant([[3, 4, 5, 6, 7, 8], [9, 10, 11, 12, 0, 0], [13, 14, 15, 16, 17, 0]]),
    "segment_ids": tf.constant([[0, 0, 0, 1, 1, 1], [0] * 6, [0] * 6]),
    "padding_mask": tf.constant([[1] * 6, [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]]),
}


def a_backbone(num_learned, fast=True, products=None):
    keras.utils.set_random_seed(4)
    backbone = build_backbone(FACTS, dropout=0.5, fast=fast, products=products)
    for index, weight in enumerate(backbone.trainable_weights):
        weight.assign(np.random.default_rng(index).normal(scale=0.5, size=weight.shape))
    if num_learned is not None:
        freeze(backbone, num_learned)
    return backbone


def two_backbones_and_a_layer(context):
    """Return matrices of the first backbone, which is made in a context, and all weights of what is made after it."""
    keras.utils.set_random_seed(5)
    sizes = {name: FACTS[name] for name in list(FACTS)[:7]}
    with context:
        first = BertBackbone(**sizes)
    second, dense = BertBackbone(**sizes), keras.layers.Dense(3)
    dense.build((None, 4))
    matrices = [weight for weight in first.weights if weight.path.endswith(("embeddings", "kernel"))]
    return [[weight.numpy() for weight in of] for of in (matrices, [*second.weights, *dense.weights])]


def test_no_weights_are_drawn_and_others_are_as_ever():
    (none, later), (drawn, as_ever) = map(two_backbones_and_a_layer, (no_weights_drawn(), contextlib.nullcontext()))
    assert len(none) == len(drawn) == 2 + 2 * 6 + 1 + 1
    assert all(weight.any() for weight in drawn) and not any(weight.any() for weight in none)
    for one, other in zip(later, as_ever, strict=True):
        np.testing.assert_array_equal(one, other)


def parts(backbone):
    """Return the first part of the path of every weight that is learned, each once."""
    return list(dict.fromkeys(weight.path.split("/")[0] for weight in backbone.trainable_weights))


def sequence(backbone, training=True):
    return tf.boolean_mask(backbone(INPUTS, training=training)["sequence_output"], INPUTS["padding_mask"]).numpy()


def test_the_layers_nearest_the_head_are_learned():
    embeddings = ["token_embedding", "segment_embedding", "position_embedding", "embeddings_layer_norm"]
    layers, pooler = ["transformer_layer_0", "transformer_layer_1"], ["pooled_dense"]
    assert sorted(parts(a_backbone(None))) == sorted(embeddings + layers + pooler)
    assert parts(a_backbone(2)) == layers + pooler
    assert parts(a_backbone(1)) == layers[1:] + pooler
    assert parts(a_backbone(0)) == pooler


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("num_learned", [0, 1, 2])
def test_what_is_frozen_computes_without_dropout_and_has_no_gradient(num_learned, fast):
    backbone = a_backbone(num_learned, fast)
    frozen = [backbone.embeddings_dropout.output, *(layer.output for layer in backbone.transformer_layers)]
    below = keras.Model(backbone.inputs, dict(enumerate(frozen[: 3 - num_learned])))
    learning, answering = below(INPUTS, training=True), below(INPUTS, training=False)
    assert len(learning) == 3 - num_learned
    for index, values in learning.items():
        is_close = np.isclose(values, answering[index], rtol=1e-4, atol=1e-4)
        assert is_close[INPUTS["padding_mask"].numpy() == 1].all()
    is_random = not np.allclose(sequence(backbone), sequence(backbone), atol=1e-3)
    assert is_random == (num_learned > 0)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(backbone(INPUTS, training=True)["sequence_output"]))
    gradients = tape.gradient(loss, [weight.value for weight in backbone.weights])
    reached = {
        weight.path.split("/")[0]
        for weight, gradient in zip(backbone.weights, gradients, strict=True)
        if gradient is not None
    }
    assert reached == {"transformer_layer_0", "transformer_layer_1"} - {
        f"transformer_layer_{i}" for i in range(2 - num_learned)
    }


def test_without_freezing_there_is_dropout_everywhere():
    backbone = a_backbone(None)
    assert not np.allclose(sequence(backbone), sequence(backbone), atol=1e-3)
    assert not np.allclose(sequence(backbone), sequence(backbone, training=False), atol=1e-3)


def test_frozen_layers_multiply_in_what_training_does():
    one, other = (sequence(a_backbone(0, products=products)) for products in (None, "bfloat16"))
    assert not np.array_equal(one, other)
    assert_near(other, one, "bfloat16", **ROUNDED)


def test_answers_are_in_another_dtype_for_a_while():
    backbone = a_backbone(1)
    before, calls = sequence(backbone, training=False), [layer.call for layer in backbone.transformer_layers]
    with answering_in(backbone, "bfloat16"):
        inside = sequence(backbone, training=False)
    assert not np.array_equal(inside, before)
    assert_near(inside, before, "bfloat16", **ROUNDED)
    with answering_in(backbone, None):
        np.testing.assert_array_equal(sequence(backbone, training=False), before)
    # What lets no gradient through is there again, too.
    assert [layer.call for layer in backbone.transformer_layers] == calls


def test_a_defect_is_more_than_rounding_explains():
    exact = sequence(a_backbone(0, products="bfloat16"))
    for path in ("layer_1/feedforward_intermediate_dense/bias", "layer_1/self_attention_layer/attention_output/kernel"):
        broken = a_backbone(0, products="bfloat16")
        [weight] = [weight for weight in broken.weights if weight.path.endswith(path)]
        weight.assign(tf.zeros_like(weight) if path.endswith("bias") else weight.numpy()[::-1])
        assert distance(sequence(broken), exact)[0] > 1.5 * relative_error("bfloat16", **ROUNDED)


@pytest.mark.parametrize("number", [None, 0, 12])
def test_as_many_layers_as_there_are_can_be_learned(number):
    check_layers(number, 12, "minilm")


def test_more_layers_than_there_are_cannot_be_learned():
    with pytest.raises(ValueError, match=r"train.trainable_layers=13: minilm has 12 layers; wanted at most so many"):
        check_layers(13, 12, "minilm")
