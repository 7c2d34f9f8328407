"""Model inputs: their declarations, and the tensors of texts, numbers and categories."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfbert.text.inputs import Category, Number, Text, batch_of, from_json, rough_lengths, specs_of


@pytest.mark.parametrize(
    ("declared", "dtype", "shape", "kind"),
    [
        (Text("text"), tf.string, [None], "text"),
        (Category("brand"), tf.string, [None], "category"),
        (Number("price"), tf.float32, [None], "number"),
        (Text("choices", many=True), tf.string, [None, None], "texts"),
        (Category("brands", many=True), tf.string, [None, None], "categories"),
        (Number("prices", many=True), tf.float32, [None, None], "numbers"),
    ],
)
def test_specs_of_inputs(declared, dtype, shape, kind):
    assert (declared.spec.dtype, declared.spec.shape.as_list(), declared.kind) == (dtype, shape, kind)
    assert declared.spec.name == declared.name and declared.required


def test_items_become_tensors_by_name():
    items = [{"text": "good ½", "brand": "Ada", "price": 1.5}, {"text": "", "brand": "", "price": 2}]
    tensors = batch_of(items, specs_of([Number("price"), Text("text"), Category("brand")]))
    assert list(tensors) == ["price", "text", "brand"]
    assert tensors["price"].dtype == tf.float32 and tensors["price"].numpy().tolist() == [1.5, 2.0]
    assert tensors["text"].numpy().tolist() == ["good ½".encode(), b""]
    assert tensors["brand"].numpy().tolist() == [b"Ada", b""]
    assert list(batch_of(items, specs_of([Category("brand")]))) == ["brand"]


def test_inputs_with_several_values_are_padded():
    items = [
        {"choices": ("a", "b", "c"), "weights": (1.0,)},
        {"choices": (), "weights": (2.0, 3.5)},
        {"choices": ("d",), "weights": ()},
    ]
    specs = specs_of([Text("choices", many=True), Number("weights", many=True)])
    tensors = batch_of(items, specs)
    assert tensors["choices"].numpy().tolist() == [[b"a", b"b", b"c"], [b"", b"", b""], [b"d", b"", b""]]
    expected = [[1.0, np.nan], [2.0, 3.5], [np.nan, np.nan]]
    np.testing.assert_array_equal(tensors["weights"], np.array(expected, np.float32))
    assert tensors["weights"].dtype == tf.float32
    empty = batch_of([{"choices": (), "weights": ()}], specs)
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in empty.items()} == {
        "choices": (tf.string, (1, 0)),
        "weights": (tf.float32, (1, 0)),
    }


def test_a_lone_surrogate_is_replaced():
    tensors = batch_of(
        [{"text": "a\ud83d", "choices": ("b\ude00", "c")}], specs_of([Text("text"), Text("choices", many=True)])
    )
    assert tensors["text"].numpy().tolist() == [b"a?"] and tensors["choices"].numpy().tolist() == [[b"b?", b"c"]]


def test_rough_lengths_count_texts_but_not_numbers():
    lengths = rough_lengths(
        [{"text": "", "price": 1e9}, {"text": "x" * 35}, {"text": "x" * 7, "choices": ("y" * 14, "é" * 7)}]
    )
    assert lengths.dtype == np.float64 and lengths.tolist() == [3, 13, 13]


def test_an_item_survives_json():
    item = {"text": "a", "choices": ("b", "c"), "price": 1.5, "weights": ()}
    assert from_json(json.loads(json.dumps(item))) == item
