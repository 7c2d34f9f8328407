"""Fast layers and encoders equal KerasNLP's in values and gradients; `fast=False` runs the code of KerasNLP."""

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
# The longest sum in a layer is that of the second feed-forward product, and six products follow one another. A gradient
# has the same number of products again. See rounding.py.
FORWARD, BACKWARD = {"length": 20, "depth": 6}, {"length": 20, "depth": 12}
SIZES = {"vocabulary_size": 30, "num_layers": 2, "num_heads": 3, "hidden_dim": 12, "intermediate_dim": 20}
INPUTS = {
    "token_ids": tf.constant(np.random.default_rng(0).integers(1, 30, (2, 7)), tf.int32),
    "segment_ids": tf.constant([[0] * 7, [0, 0, 0, 1, 1, 1, 1]]),
    "padding_mask": PADDING,
}


# Index of this gradient in the list of the output, the gradient of the inputs and those of the weights.
KEY_BIAS = 5


def a_layer(activation="gelu", dropout=0.0, dtype="float32", kind=TransformerEncoder, **options):
    """Return a KerasNLP layer."""
    keras.utils.set_random_seed(3)
    layer = kind(20, 3, dropout=dropout, activation=ACTIVATIONS[activation], dtype=dtype, **options)
    layer.build(SHAPE)
    randomize(layer)
    return layer


def fast_layer(*args, **options):
    """Return an `EncoderLayer` with the same weights."""
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
        # The output at padding has no meaning.
        output = tf.boolean_mask(layer(x, **options), PADDING)
        loss = tf.reduce_sum(tf.sin(output))
    return [output, *tape.gradient(loss, [x, *weights])]


def assert_same(actual, expected, tolerance=2e-5):
    for actual_values, expected_values in zip(actual, expected, strict=True):
        np.testing.assert_allclose(actual_values, expected_values, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_layer_equals_kerasnlp(activation, training):
    options = {"padding_mask": PADDING, "training": training}
    actual = with_gradients(fast_layer(activation), **options)
    assert_same(actual, with_gradients(a_layer(activation), **options))
    assert len(actual) == 2 + 16


def test_a_frozen_layer_propagates_its_gradient():
    layers = [a_layer(), fast_layer()]
    for layer in layers:
        layer.trainable = False
    expected, actual = (with_gradients(layer, padding_mask=PADDING, training=True) for layer in layers)
    assert_same(actual, expected)
    assert len(actual) == 2


def test_masks_by_query_and_attention_scores_are_left_to_kerasnlp():
    by_query = tf.constant(np.tril(np.ones((2, 7, 7))))
    for options in ({"attention_mask": by_query}, {}):
        options = {"training": True, **options}
        assert_same([fast_layer()(inputs(), **options)], [a_layer()(inputs(), **options)])
    options = {"padding_mask": PADDING, "return_attention_scores": True, "training": True}
    assert_same(fast_layer()(inputs(), **options), a_layer()(inputs(), **options))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_differs_by_rounding_only(dtype, training):
    options = {"padding_mask": PADDING, "training": training}
    layers = fast_layer(dtype=dtype), a_layer()
    actual, expected = (tf.boolean_mask(layer(inputs(), **options), PADDING) for layer in layers)
    assert actual.dtype == dtype.removeprefix("mixed_")
    assert_near(tf.cast(actual, tf.float32), expected, actual.dtype.as_numpy_dtype, **FORWARD)


def test_half_precision_products_affect_training_only():
    plain, mixed = a_layer(), fast_layer(product_dtype="bfloat16")
    exact = with_gradients(plain, padding_mask=PADDING, training=True)
    actual = with_gradients(mixed, padding_mask=PADDING, training=True)
    assert {gradient.dtype for gradient in actual} == {tf.float32}
    size_of_key_kernel = np.sqrt(np.mean(np.square(exact[4])))
    for index, (gradient, expected) in enumerate(zip(actual, exact, strict=True)):
        # The gradient of the key bias is 0, because it does not change the softmax. Its error is compared with the size
        # of the gradient of the key kernel instead.
        assert_near(gradient, expected, "bfloat16", **BACKWARD, size=size_of_key_kernel if index == KEY_BIAS else None)
    assert np.abs(actual[0] - exact[0]).max() > 1e-4  # bfloat16 was in use
    assert_same(*([with_gradients(layer, padding_mask=PADDING)[0]] for layer in (mixed, plain)))


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_half_precision_kernels_affect_inference_only(activation):
    plain, narrow = a_layer(activation), fast_layer(activation)
    narrow.copy_kernels("bfloat16")
    exact, actual = (tf.boolean_mask(layer(inputs(), padding_mask=PADDING), PADDING) for layer in (plain, narrow))
    assert actual.dtype == tf.float32
    assert_near(actual, exact, "bfloat16", **FORWARD)
    assert np.abs(actual - exact).max() > 1e-4  # bfloat16 was in use
    trained = [with_gradients(layer, padding_mask=PADDING, training=True) for layer in (narrow, plain)]
    assert_same(*trained)


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
def test_a_defect_causes_a_larger_error_than_rounding(defect):
    """The tolerances above are wide enough for every machine, and narrow enough to notice these defects."""
    broken = fast_layer(product_dtype="bfloat16")
    DEFECTS[defect](broken)
    exact = with_gradients(a_layer(), padding_mask=PADDING, training=True)
    actual = with_gradients(broken, padding_mask=PADDING, training=True)
    errors = [
        distance(gradient, expected)[0]
        for index, (gradient, expected) in enumerate(zip(actual, exact, strict=True))
        if index != KEY_BIAS
    ]
    assert max(errors) > 1.3 * relative_error("bfloat16", **BACKWARD)
    if "matri" in defect:
        # These defects are visible in the outputs in any precision.
        assert errors[0] > 5 * relative_error("bfloat16", **FORWARD)


def test_kernels_are_copied_at_the_time_of_the_call_and_used_in_the_graph():
    layer = fast_layer()
    layer.copy_kernels("bfloat16")
    infer = tf.function(lambda x: layer(x, padding_mask=PADDING)).get_concrete_function(inputs())
    before = infer(inputs())[0].numpy()
    shapes = sorted(v.shape.num_elements() for v in infer.graph.variables if v.dtype == tf.bfloat16)
    assert shapes == [144] * 4 + [240] * 2
    # All other variables are biases and weights of LayerNorm.
    assert all(v.shape.num_elements() <= 20 for v in infer.graph.variables if v.dtype == tf.float32)
    layer.products["feedforward_out"].assign_kernel(tf.zeros([20, 12]))
    np.testing.assert_array_equal(infer(inputs())[0], before)


def test_dropout_drops_in_training_only_and_the_same_for_a_seed():
    runs = []
    for _ in range(2):
        layer = fast_layer(dropout=0.3)
        runs.append([layer(inputs(), padding_mask=PADDING, training=True).numpy() for _ in range(2)])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert np.abs(runs[0][0] - runs[0][1]).max() > 0.1
    inferred, expected = (
        tf.boolean_mask(layer(inputs(), padding_mask=PADDING, training=False), PADDING)
        for layer in (fast_layer(dropout=0.3), a_layer())
    )
    assert_same([inferred], [expected])


def test_padding_in_any_position_does_not_change_the_tokens():
    layer = fast_layer()
    alone = layer(inputs()[:, :4], padding_mask=tf.ones([2, 4], tf.int32), training=False)
    noise = tf.random.stateless_normal([2, 3, 12], [1, 2])
    for at_front in (True, False):
        pieces = [inputs()[:, :4], noise]
        mask = [[1] * 4 + [0] * 3] * 2
        if at_front:
            pieces, mask = pieces[::-1], [flags[::-1] for flags in mask]
        actual = layer(tf.concat(pieces, axis=1), padding_mask=tf.constant(mask), training=False)
        assert_same([tf.boolean_mask(actual, mask)], [tf.reshape(alone, [-1, 12])])


def test_texts_without_tokens_are_not_an_error():
    layer = fast_layer()
    actual = layer(inputs(), padding_mask=tf.constant([[0] * 7, [1] * 4 + [0] * 3]), training=False)
    alone = layer(inputs()[1:, :4], padding_mask=tf.ones([1, 4], tf.int32), training=False)
    assert_same([actual[1, :4]], [alone[0]])
    assert np.isfinite(layer(inputs(), padding_mask=tf.zeros([2, 7], tf.int32), training=False)).all()
    assert layer(inputs()[:0], padding_mask=PADDING[:0], training=False).shape == (0, 7, 12)


def a_backbone(dropout, **options):
    keras.utils.set_random_seed(3)
    backbone = BertEncoder(**SIZES, max_sequence_length=9, dropout=dropout, **options)
    randomize(backbone)
    return backbone


def gradients_of(backbone):
    with tf.GradientTape() as tape:
        actual = backbone(INPUTS, training=True)
        loss = tf.reduce_sum(tf.sin(actual["sequence_output"])) + tf.reduce_sum(actual["pooled_output"] ** 2)
    gradients = tape.gradient(loss, [weight.value for weight in backbone.trainable_weights])
    return [actual["sequence_output"], *(tf.convert_to_tensor(gradient) for gradient in gradients)]


def test_an_encoder_has_the_gradients_of_kerasnlps():
    assert_same(gradients_of(a_backbone(0.0)), gradients_of(a_backbone(0.0, fast=False)), 1e-4)


def test_without_fast_layers_it_equals_kerasnlp_bit_for_bit():
    plain, fast = (
        a_backbone(0.2, fast=is_fast)(INPUTS, training=True)["sequence_output"].numpy() for is_fast in (False, True)
    )
    keras.utils.set_random_seed(3)
    by_kerasnlp = BertBackbone(**SIZES, max_sequence_length=9, dropout=0.2)
    randomize(by_kerasnlp)
    expected = by_kerasnlp(INPUTS, training=True)["sequence_output"].numpy()
    np.testing.assert_array_equal(plain, expected)
    assert np.abs(fast - expected).max() > 0.1  # other random draws: the fast layers were in use


def test_inference_has_no_custom_gradients_and_only_products_that_tensorflow_can_fuse():
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
    # TensorFlow fuses a product of two matrices with its bias, but not an Einsum.
    assert "Einsum" not in operations[False] and operations[False] >= {"MatMul", "BiasAdd"}
