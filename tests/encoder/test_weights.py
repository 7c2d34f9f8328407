"""Weights are copied by name; errors name a weight that is missing or has another shape."""

import keras
import numpy as np
import pytest
from keras_hub.models import BertBackbone

from tfbert.encoder.bert import BertEncoder
from tfbert.encoder.weights import copy_weights, named_weights

SIZES = {"vocabulary_size": 9, "num_layers": 2, "num_heads": 2, "hidden_dim": 4, "intermediate_dim": 6}


def test_weights_are_copied_by_name_from_and_to_kerasnlp():
    backbone, encoder = BertBackbone(**SIZES), BertEncoder(**SIZES, draw_weights=False)
    for index, weight in enumerate(backbone.weights):
        weight.assign(np.random.default_rng(index).normal(size=weight.shape))
    copy_weights(backbone, encoder)
    expected = {weight.path: np.asarray(weight) for weight in backbone.weights}
    assert len(expected) == 5 + 2 * 16 + 2
    for weight in encoder.weights:
        np.testing.assert_array_equal(weight, expected.pop(weight.path), err_msg=weight.path)
    assert not expected


def two_layers(*names):
    layer = keras.Sequential([keras.layers.Dense(3, name=name) for name in names])
    layer.build((None, 3))
    return layer


def test_neither_the_order_of_weights_nor_the_name_of_the_layer_matters():
    source, target = two_layers("first", "second"), two_layers("second", "first")
    assert source.name != target.name
    copy_weights(source, target)
    np.testing.assert_array_equal(target.layers[0].kernel, source.layers[1].kernel)
    np.testing.assert_array_equal(target.layers[1].kernel, source.layers[0].kernel)
    assert "first/kernel" in named_weights(source)


def test_a_weight_that_one_side_lacks_is_named():
    small, large = BertEncoder(**SIZES | {"num_layers": 1}), BertEncoder(**SIZES)
    name = "transformer_layer_1/feedforward_intermediate_dense/bias"
    for source, target in ((small, large), (large, small)):
        with pytest.raises(ValueError, match=rf"{small.name} has no weight '{name}' \(16 missing\)"):
            copy_weights(source, target)


def test_a_weight_of_another_shape_is_named():
    source, target = (BertEncoder(**SIZES | {"num_segments": number}) for number in (2, 3))
    with pytest.raises(ValueError, match=r"'segment_embedding/embeddings' has shape \(2, 4\) in .* and \(3, 4\) in"):
        copy_weights(source, target)
