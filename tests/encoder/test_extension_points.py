"""Extensions have the expected effect in training and inference, with fast layers and with KerasNLP's."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.rounding import assert_near
from support.tunings import Adapter, LowRank, LowRankTuning, Prefix

from tfbert.encoder.bert import BertEncoder
from tfbert.encoder.layer import EncoderLayer

SHAPE, HIDDEN, HEADS = (2, 7, 12), 12, 3
MASK = tf.constant([[1] * 7, [1] * 4 + [0] * 3])
PRODUCTS = ["query", "key", "value", "attention_output", "feedforward_in", "feedforward_out"]
# Whether the layer is fast, and whether it is training: each combination runs different code.
MODES = [(fast, training) for fast in (True, False) for training in (True, False)]
SIZES = {"vocabulary_size": 20, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 12}
INPUTS = {
    "token_ids": tf.constant([[3, 4, 5, 6, 7, 8], [9, 10, 11, 12, 0, 0]]),
    "segment_ids": tf.constant([[0, 0, 0, 1, 1, 1], [0] * 6]),
    "padding_mask": tf.constant([[1] * 6, [1, 1, 1, 1, 0, 0]]),
}


def a_layer(fast=True, dropout=0.0, **options):
    keras.utils.set_random_seed(3)
    layer = EncoderLayer(20, HEADS, dropout=dropout, activation="gelu", fast=fast, **options)
    layer.build(SHAPE)
    for index, weight in enumerate(layer.trainable_weights):
        weight.assign(np.random.default_rng(index).normal(scale=0.7, size=weight.shape))
    return layer


def inputs(length=7):
    return tf.constant(np.random.default_rng(9).normal(size=(2, length, HIDDEN)), tf.float32)


def outputs(layer, training, x=None, mask=MASK):
    """Return the output of a layer for the tokens, without padding."""
    return tf.boolean_mask(layer(inputs() if x is None else x, padding_mask=mask, training=training), mask)


def assert_same(actual, expected, tolerance=3e-5):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def low_rank(point, **options):
    extension = LowRank(*point.kernel.shape, rank=2, name="low_rank", **options)
    extension.wide.assign(np.random.default_rng(5).normal(size=extension.wide.shape))
    return extension


@pytest.mark.parametrize(("fast", "training"), MODES)
@pytest.mark.parametrize("name", PRODUCTS)
def test_a_low_rank_update_equals_another_kernel(name, fast, training):
    layer, expected, plain = (a_layer(fast) for _ in range(3))
    point = layer.products[name]
    point.extension = low_rank(point)
    other = expected.products[name]
    other.assign_kernel(other.kernel + point.extension.update)
    assert_same(outputs(layer, training), outputs(expected, training))
    assert np.abs(outputs(layer, training) - outputs(plain, training)).max() > 0.1


@pytest.mark.parametrize(("fast", "training"), MODES)
@pytest.mark.parametrize("sublayer", ["attention", "feedforward"])
def test_the_end_of_a_sublayer_is_after_its_last_product_and_before_the_residual(sublayer, fast, training):
    layer, expected = a_layer(fast), a_layer(fast)
    end = {"attention": layer.attention_end, "feedforward": layer.feedforward_end}[sublayer]
    end.extension = lambda output: 3 * output
    product = expected.products[{"attention": "attention_output", "feedforward": "feedforward_out"}[sublayer]]
    product.assign_kernel(3 * product.kernel)
    product.dense.bias.assign(3 * product.dense.bias)
    assert_same(outputs(layer, training), outputs(expected, training))


@pytest.mark.parametrize(("fast", "training"), MODES)
def test_a_prefix_equals_tokens_in_front(fast, training):
    layer, plain = a_layer(fast), a_layer(fast)
    tokens = tf.constant(np.random.default_rng(4).normal(size=(2, HIDDEN)), tf.float32)
    projections = [layer.products[name] for name in ("key", "value")]
    keys, values = (
        tf.reshape(tokens @ product.kernel + tf.reshape(product.dense.bias, [-1]), [2, HEADS, HIDDEN // HEADS])
        for product in projections
    )
    layer.keys_values.extension = Prefix(keys, values)
    longer = tf.concat([tf.repeat(tokens[None], 2, axis=0), inputs()], axis=1)
    mask = tf.concat([tf.ones([2, 2], tf.int32), MASK], axis=1)
    is_text = tf.concat([tf.zeros([2, 2], tf.int32), MASK], axis=1)
    expected = tf.boolean_mask(plain(longer, padding_mask=mask, training=training), is_text)
    assert_same(outputs(layer, training), expected)
    assert np.abs(outputs(layer, training) - outputs(plain, training)).max() > 0.1


def extend_all(layer):
    """Attach an extension to every point of a layer and return the variables of these extensions."""
    layer.products["key"].extension = low_rank(layer.products["key"])
    layer.products["feedforward_in"].extension = low_rank(layer.products["feedforward_in"])
    layer.attention_end.extension, layer.feedforward_end.extension = Adapter(HIDDEN), Adapter(HIDDEN)
    keys, values = np.random.default_rng(7).normal(size=(2, 3, HEADS, HIDDEN // HEADS))
    layer.keys_values.extension = Prefix(keys, values)
    points = [*layer.products.values(), layer.attention_end, layer.feedforward_end, layer.keys_values]
    return [variable for point in points if point.extension for variable in point.extension.trainable_weights]


def gradients(layer, training):
    variables = [variable.value for variable in extend_all(layer)]
    with tf.GradientTape() as tape:
        result = outputs(layer, training)
        loss = tf.reduce_sum(tf.sin(result))
    return [result, *tape.gradient(loss, variables)]


def test_all_modes_give_the_same_values_and_gradients():
    expected = gradients(a_layer(fast=False), True)
    assert len(expected) == 1 + 2 * 2 + 2 * 4 + 2
    for fast, training in MODES:
        for actual_values, expected_values in zip(gradients(a_layer(fast), training), expected, strict=True):
            assert_same(actual_values, expected_values, 2e-4)


@pytest.mark.parametrize("fast", [True, False])
def test_dropout_is_before_an_adapter(fast):
    layer = a_layer(fast, dropout=0.5)
    arguments = []
    layer.feedforward_end.extension = lambda output: arguments.append(output.numpy()) or output
    outputs(layer, True)
    assert 0.3 < (arguments[0] == 0).mean() < 0.7
    # The same seed drops the same values with and without an extension.
    extended, plain = a_layer(fast, dropout=0.5), a_layer(fast, dropout=0.5)
    extended.attention_end.extension = lambda output: output
    assert_same(outputs(extended, True), outputs(plain, True))


@pytest.mark.parametrize("fast", [True, False])
def test_masks_by_query_and_scores_reach_an_extended_layer(fast):
    layer, plain = a_layer(fast), a_layer(fast)
    layer.attention_end.extension = lambda output: output
    by_query = tf.constant(np.tril(np.ones((2, 7, 7))))
    for options in ({"attention_mask": by_query}, {"attention_mask": by_query, "padding_mask": MASK}, {}):
        options["return_attention_scores"] = True
        for actual, expected in zip(layer(inputs(), **options), plain(inputs(), **options), strict=True):
            assert_same(actual, expected)


@pytest.mark.parametrize("training", [True, False])
def test_extensions_compute_in_half_precision_too(training):
    exact, mixed = a_layer(), a_layer(dtype="mixed_bfloat16")
    for layer in (exact, mixed):
        extend_all(layer)
    result = outputs(mixed, training)
    assert result.dtype == tf.bfloat16
    # The longest chain of products includes two of the adapters and two of the low-rank updates.
    assert_near(tf.cast(result, tf.float32), outputs(exact, training), "bfloat16", length=20, depth=14)


def test_inference_by_copied_kernels_has_the_extensions():
    exact, copied = a_layer(), a_layer()
    for layer in (exact, copied):
        extend_all(layer)
    copied.copy_kernels("bfloat16")
    result = outputs(copied, False)
    assert result.dtype == tf.float32 and np.abs(result - outputs(exact, False)).max() > 1e-4
    assert_near(result, outputs(exact, False), "bfloat16", length=20, depth=14)


def an_encoder():
    keras.utils.set_random_seed(4)
    encoder = BertEncoder(**SIZES, max_sequence_length=6, dropout=0.0)
    for index, weight in enumerate(encoder.trainable_weights):
        weight.assign(np.random.default_rng(index).normal(scale=0.5, size=weight.shape))
    return encoder


def test_an_encoder_has_the_weights_of_its_extensions():
    encoder = an_encoder()
    before = [weight.path for weight in encoder.weights]
    point = encoder.transformer_layers[1].attention_end
    encoder.extend(point, Adapter(8, name="adapter"))
    added = [weight.path for weight in encoder.weights if weight.path not in before]
    assert len(added) == 4 and {weight.path for weight in encoder.trainable_weights} >= set(added)
    with pytest.raises(ValueError, match="second: the extension point already has adapter"):
        encoder.extend(point, Adapter(8, name="second"))
    encoder.remove_extension(point)
    assert [weight.path for weight in encoder.weights] == before and point.extension is None


def test_a_tuning_method_is_merged_into_the_weights():
    encoder, method = an_encoder(), LowRankTuning(PRODUCTS)
    before = [weight.path for weight in encoder.weights]
    encoder.tune(method)
    assert {path for path, group in method.groups().items()} == {w.path for w in encoder.trainable_weights}
    plain = encoder(INPUTS)["pooled_output"].numpy()
    for _, update in method.attached:
        update.wide.assign(np.random.default_rng(6).normal(size=update.wide.shape))
    expected = encoder(INPUTS)["pooled_output"].numpy()
    assert np.abs(expected - plain).max() > 0.05
    with pytest.raises(ValueError, match="already has a tuning method"):
        encoder.tune(LowRankTuning())
    encoder.merge()
    assert encoder.tuning is None and [weight.path for weight in encoder.weights] == before
    assert_same(encoder(INPUTS)["pooled_output"], expected)


def test_a_method_that_cannot_be_merged_stays_attached():
    class Adapters:
        def attach(self, encoder):
            encoder.extend(encoder.transformer_layers[0].attention_end, Adapter(8, name="adapter"))

        def groups(self):
            return {}

        def merge(self, encoder):
            pass

    encoder, method = an_encoder(), Adapters()
    encoder.tune(method)
    expected = encoder(INPUTS)["pooled_output"].numpy()
    encoder.merge()
    assert encoder.tuning is method
    assert_same(encoder(INPUTS)["pooled_output"], expected)


def operations(encoder):
    function = tf.function(lambda inputs: encoder(inputs)["pooled_output"])
    return sorted(op.type for op in function.get_concrete_function(INPUTS).graph.get_operations())


def test_points_without_extensions_add_nothing_to_the_graph():
    encoder, never_extended = an_encoder(), operations(an_encoder())
    point = encoder.transformer_layers[0].attention_end
    encoder.extend(point, Adapter(8))
    assert len(operations(encoder)) > len(never_extended)
    encoder.remove_extension(point)
    assert operations(encoder) == never_extended
