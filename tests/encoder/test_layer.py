"""Layers and whole encoders equal KerasNLP's in values and gradients, in training too; and the switch turns all off."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_hub.layers import TransformerEncoder
from keras_hub.models import BertBackbone
from support.rounding import assert_near, distance, relative_error

from tfbert.encoder.activations import ACTIVATIONS
from tfbert.encoder.bert import BertEncoder
from tfbert.encoder.layer import EncoderLayer

SHAPE = (2, 7, 12)
PADDING = tf.constant([[1] * 7, [1] * 4 + [0] * 3])
# Of a layer: the longest sum is that of the second dense layer behind attention, and six products follow one another.
# A gradient takes as many again. See rounding.py.
FORWARD, BACKWARD = {"length": 20, "depth": 6}, {"length": 20, "depth": 12}
SIZES = {"vocabulary_size": 30, "num_layers": 2, "num_heads": 3, "hidden_dim": 12, "intermediate_dim": 20}
INPUTS = {
    "token_ids": tf.constant(np.random.default_rng(0).integers(1, 30, (2, 7)), tf.int32),
    "segment_ids": tf.constant([[0] * 7, [0, 0, 0, 1, 1, 1, 1]]),
    "padding_mask": PADDING,
}


# Among the output, the gradient of the inputs and those of the weights.
KEY_BIAS = 5


def a_layer(activation="gelu", dropout=0.0, dtype="float32", kind=TransformerEncoder, **options):
    """Return a layer of KerasNLP's."""
    keras.utils.set_random_seed(3)
    layer = kind(20, 3, dropout=dropout, activation=ACTIVATIONS[activation], dtype=dtype, **options)
    layer.build(SHAPE)
    randomize(layer)
    return layer


def fast(*args, **options):
    """Return a layer of ours with the same weights."""
    return a_layer(*args, kind=EncoderLayer, **options)


def randomize(layer):
    for index, weight in enumerate(layer.trainable_weights):
        weight.assign(np.random.default_rng(index).normal(scale=0.7, size=weight.shape))


def inputs():
    return tf.constant(np.random.default_rng(9).normal(size=SHAPE), tf.float32)


def with_gradients(layer, **options):
    x = inputs()
    weights = [weight.value for weight in layer.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch(x)
        # What a layer makes of padding has no meaning.
        found = tf.boolean_mask(layer(x, **options), PADDING)
        loss = tf.reduce_sum(tf.sin(found))
    return [found, *tape.gradient(loss, [x, *weights])]


def assert_same(found, expected, tolerance=2e-5):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_layer_computes_what_kerasnlp_computes(activation, training):
    options = {"padding_mask": PADDING, "training": training}
    found = with_gradients(fast(activation), **options)
    assert_same(found, with_gradients(a_layer(activation), **options))
    assert len(found) == 2 + 16


def test_a_frozen_layer_hands_its_gradient_on():
    layers = [a_layer(), fast()]
    for layer in layers:
        layer.trainable = False
    expected, found = (with_gradients(layer, padding_mask=PADDING, training=True) for layer in layers)
    assert_same(found, expected)
    assert len(found) == 2


def test_masks_by_query_and_attention_scores_are_left_to_kerasnlp():
    by_query = tf.constant(np.tril(np.ones((2, 7, 7))))
    for options in ({"attention_mask": by_query}, {}):
        options = {"training": True, **options}
        assert_same([fast()(inputs(), **options)], [a_layer()(inputs(), **options)])
    options = {"padding_mask": PADDING, "return_attention_scores": True, "training": True}
    assert_same(fast()(inputs(), **options), a_layer()(inputs(), **options))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_near(dtype, training):
    options = {"padding_mask": PADDING, "training": training}
    layers = fast(dtype=dtype), a_layer()
    found, expected = (tf.boolean_mask(layer(inputs(), **options), PADDING) for layer in layers)
    assert found.dtype == dtype.removeprefix("mixed_")
    assert_near(tf.cast(found, tf.float32), expected, found.dtype.as_numpy_dtype, **FORWARD)


def test_products_alone_in_half_precision_are_near_and_answers_are_not_touched():
    plain, mixed = a_layer(), fast(product_dtype="bfloat16")
    exact = with_gradients(plain, padding_mask=PADDING, training=True)
    found = with_gradients(mixed, padding_mask=PADDING, training=True)
    assert {gradient.dtype for gradient in found} == {tf.float32}
    of_keys = np.sqrt(np.mean(np.square(exact[4])))
    for index, (one, other) in enumerate(zip(found, exact, strict=True)):
        # The gradient of the keys' bias is 0, as the softmax does not see it: to be compared with that of their matrix.
        assert_near(one, other, "bfloat16", **BACKWARD, size=of_keys if index == KEY_BIAS else None)
    assert np.abs(found[0] - exact[0]).max() > 1e-4  # rounded: bfloat16 was in use
    assert_same(*([with_gradients(layer, padding_mask=PADDING)[0]] for layer in (mixed, plain)))


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_matrices_in_half_precision_answer_nearly_the_same_and_training_is_not_touched(activation):
    plain, narrow = a_layer(activation), fast(activation)
    narrow.copy_kernels("bfloat16")
    exact, found = (tf.boolean_mask(layer(inputs(), padding_mask=PADDING), PADDING) for layer in (plain, narrow))
    assert found.dtype == tf.float32
    assert_near(found, exact, "bfloat16", **FORWARD)
    assert np.abs(found - exact).max() > 1e-4  # rounded: bfloat16 was in use
    learned = [with_gradients(layer, padding_mask=PADDING, training=True) for layer in (narrow, plain)]
    assert_same(*learned)


def swap_query_and_value(layer):
    query, value = layer.products["query"], layer.products["value"]
    kernels = [product.kernel.numpy() for product in (query, value)]
    query.assign_kernel(kernels[1])
    value.assign_kernel(kernels[0])


def transpose_output(layer):
    product = layer.products["attention_output"]
    product.assign_kernel(tf.transpose(product.kernel))


def without_bias(name):
    def change(layer):
        bias = layer.products[name].dense.bias
        bias.assign(tf.zeros_like(bias))

    return change


PRODUCTS = ["query", "value", "attention_output", "feedforward_in", "feedforward_out"]
DEFECTS = {"swapped matrices": swap_query_and_value, "transposed matrix": transpose_output}
DEFECTS |= {f"no bias of {name}": without_bias(name) for name in PRODUCTS}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_more_than_rounding_explains(defect):
    """The tolerances above are wide enough for every machine, and narrow enough for what they are to find."""
    broken = fast(product_dtype="bfloat16")
    DEFECTS[defect](broken)
    exact = with_gradients(a_layer(), padding_mask=PADDING, training=True)
    found = with_gradients(broken, padding_mask=PADDING, training=True)
    far = [
        distance(one, other)[0]
        for index, (one, other) in enumerate(zip(found, exact, strict=True))
        if index != KEY_BIAS
    ]
    assert max(far) > 1.3 * relative_error("bfloat16", **BACKWARD)
    if "matri" in defect:
        # So large that the outputs alone tell, in any of the precisions.
        assert far[0] > 5 * relative_error("bfloat16", **FORWARD)


def test_matrices_are_copied_as_they_are_and_read_as_such():
    layer = fast()
    layer.copy_kernels("bfloat16")
    answer = tf.function(lambda x: layer(x, padding_mask=PADDING)).get_concrete_function(inputs())
    before = answer(inputs())[0].numpy()
    shapes = sorted(v.shape.num_elements() for v in answer.graph.variables if v.dtype == tf.bfloat16)
    assert shapes == [144] * 4 + [240] * 2
    # Besides, biases and norms alone.
    assert all(v.shape.num_elements() <= 20 for v in answer.graph.variables if v.dtype == tf.float32)
    layer.products["feedforward_out"].assign_kernel(tf.zeros([20, 12]))
    np.testing.assert_array_equal(answer(inputs())[0], before)


def test_dropout_drops_in_training_only_and_the_same_for_a_seed():
    runs = []
    for _ in range(2):
        layer = fast(dropout=0.3)
        runs.append([layer(inputs(), padding_mask=PADDING, training=True).numpy() for _ in range(2)])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert np.abs(runs[0][0] - runs[0][1]).max() > 0.1
    answering, expected = (
        tf.boolean_mask(layer(inputs(), padding_mask=PADDING, training=False), PADDING)
        for layer in (fast(dropout=0.3), a_layer())
    )
    assert_same([answering], [expected])


def test_padding_anywhere_changes_nothing_of_the_tokens():
    layer = fast()
    alone = layer(inputs()[:, :4], padding_mask=tf.ones([2, 4], tf.int32), training=False)
    noise = tf.random.stateless_normal([2, 3, 12], [1, 2])
    for at_front in (True, False):
        parts = [inputs()[:, :4], noise]
        mask = [[1] * 4 + [0] * 3] * 2
        if at_front:
            parts, mask = parts[::-1], [row[::-1] for row in mask]
        found = layer(tf.concat(parts, axis=1), padding_mask=tf.constant(mask), training=False)
        assert_same([tf.boolean_mask(found, mask)], [tf.reshape(alone, [-1, 12])])


def test_texts_without_any_token_are_no_error():
    layer = fast()
    found = layer(inputs(), padding_mask=tf.constant([[0] * 7, [1] * 4 + [0] * 3]), training=False)
    alone = layer(inputs()[1:, :4], padding_mask=tf.ones([1, 4], tf.int32), training=False)
    assert_same([found[1, :4]], [alone[0]])
    assert np.isfinite(layer(inputs(), padding_mask=tf.zeros([2, 7], tf.int32), training=False)).all()
    assert layer(inputs()[:0], padding_mask=PADDING[:0], training=False).shape == (0, 7, 12)


def a_backbone(dropout, **options):
    keras.utils.set_random_seed(3)
    backbone = BertEncoder(**SIZES, max_sequence_length=9, dropout=dropout, **options)
    randomize(backbone)
    return backbone


def gradients_of(backbone):
    with tf.GradientTape() as tape:
        found = backbone(INPUTS, training=True)
        loss = tf.reduce_sum(tf.sin(found["sequence_output"])) + tf.reduce_sum(found["pooled_output"] ** 2)
    gradients = tape.gradient(loss, [weight.value for weight in backbone.trainable_weights])
    return [found["sequence_output"], *(tf.convert_to_tensor(gradient) for gradient in gradients)]


def test_an_encoder_learns_what_kerasnlp_learns():
    assert_same(gradients_of(a_backbone(0.0)), gradients_of(a_backbone(0.0, fast=False)), 1e-4)


def test_without_the_fast_ways_it_is_kerasnlp_to_the_last_bit():
    plain = []
    for make in (lambda: a_backbone(0.2, fast=False), lambda: a_backbone(0.2)):
        plain.append(make()(INPUTS, training=True)["sequence_output"].numpy())
    keras.utils.set_random_seed(3)
    by_kerasnlp = BertBackbone(**SIZES, max_sequence_length=9, dropout=0.2)
    randomize(by_kerasnlp)
    expected = by_kerasnlp(INPUTS, training=True)["sequence_output"].numpy()
    np.testing.assert_array_equal(plain[0], expected)
    assert np.abs(plain[1] - expected).max() > 0.1  # other draws: the fast ways were in use


def test_nothing_hides_from_tensorflow_what_it_can_fuse_where_no_training_is():
    backbone = a_backbone(0.2)
    operations = {
        training: {
            operation.type
            for operation in tf.function(lambda inputs, training=training: backbone(inputs, training=training))
            .get_concrete_function(INPUTS)
            .graph.get_operations()
        }
        for training in (False, True)
    }
    assert "IdentityN" in operations[True] and "IdentityN" not in operations[False]
    # Products of two matrices with their biases beside them, which it joins; it cannot look into an Einsum.
    assert "Einsum" not in operations[False] and operations[False] >= {"MatMul", "BiasAdd"}
