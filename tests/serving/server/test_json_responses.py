"""REST responses: written like those of the real server, and read back without changes."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support.json_bodies import INFINITY, NUMBERS, REPEATABLE, STRING, asked, message

from tfbert.serving.server.json_tensor import classify_response, error_body, predict_response, regress_response


def test_rows_are_written_as_the_real_server_does():
    found = predict_response({"y": np.array([2.5, 3, 1e-7, np.nan, -np.inf], np.float32)}, is_row=True)
    assert found == b'{\n    "predictions": [2.5, 3.0, 1e-07, NaN, -Infinity\n    ]\n}'
    outputs = {
        "id": np.array([3, 4]),
        "is_good": np.array([[True, False]] * 2),
        "label": np.array([b"a", b'"'], object),
    }
    found = predict_response(outputs, is_row=True).decode()
    assert found.startswith('{\n    "predictions": [{\n            "id": 3,\n            "is_good": [true, false],\n')
    rows = [{"id": 3, "is_good": [True, False], "label": "a"}, {"id": 4, "is_good": [True, False], "label": '"'}]
    assert json.loads(found) == {"predictions": rows}


def test_columns_are_written():
    one, two = np.arange(6, dtype=np.uint16).reshape(2, 3), np.array(7.5)
    assert json.loads(predict_response({"a": one}, is_row=False)) == {"outputs": [[0, 1, 2], [3, 4, 5]]}
    assert json.loads(predict_response({"b": two}, is_row=False)) == {"outputs": 7.5}
    found = json.loads(predict_response({"a": one, "b": two}, is_row=False))
    assert found == {"outputs": {"a": [[0, 1, 2], [3, 4, 5]], "b": 7.5}}


@pytest.mark.parametrize("shape", [(0,), (0, 2), (2, 0), (2, 0, 3), (1, 2, 0)])
@pytest.mark.parametrize("is_row", [True, False])
def test_empty_outputs_are_written(shape, is_row):
    found = json.loads(predict_response({"a": np.zeros(shape, np.int8)}, is_row))
    assert found == {"predictions" if is_row else "outputs": np.zeros(shape).tolist()}


def test_strings_are_bytes_only_where_the_name_says_so():
    values = np.array([b"\xff\xc3\xa9", "é\n".encode()], object)
    found = json.loads(predict_response({"y": values, "y_bytes": values}, is_row=False))["outputs"]
    assert found["y"] == ["\ufffdé", "é\n"]
    assert [base64.b64decode(value.pop("b64")) for value in found["y_bytes"]] == values.tolist()
    assert json.loads(predict_response({"n_bytes": np.array([4, 5])}, is_row=True)) == {"predictions": [4, 5]}


@pytest.mark.parametrize(
    ("outputs", "is_row", "expected"),
    [
        ({}, True, "Cannot convert empty tensor map to JSON"),
        ({"a": [1], "b": 2.5}, True, "Tensor name: b has no shape information "),
        ({"a": [1, 2], "b": [3, 4, 5]}, True, "Tensor name: b has inconsistent batch size: 3 expecting: 2"),
        ({"a": np.array([1.5], np.float16)}, False, "Failed to write JSON value for tensor type: half"),
        ({"a": np.array([2j])}, True, "Failed to write JSON value for tensor type: complex128"),
    ],
)
def test_outputs_that_json_cannot_give_are_told(outputs, is_row, expected):
    assert message(predict_response, {name: np.array(value) for name, value in outputs.items()}, is_row) == expected


@pytest.mark.parametrize(
    ("value", "single", "double"),
    [
        (0.1, "0.1", "0.1"),
        (1 / 3, "0.33333334", "0.3333333333333333"),
        (300.0, "300.0", "300.0"),
        (123456.789, "123456.79", "123456.789"),
        (-0.0, "-0.0", "-0.0"),
        (1e30, "1e+30", "1e+30"),
        (1e-30, "1e-30", "1e-30"),
    ],
)
def test_numbers_have_as_many_digits_as_their_precision(value, single, double):
    for dtype, expected in ((np.float32, single), (np.float64, double)):
        text = predict_response({"y": np.array(value, dtype)}, is_row=False).decode()
        assert text == f'{{\n    "outputs": {expected}\n}}'


VALUES = st.sampled_from(sorted(NUMBERS)).flatmap(
    lambda name: arrays.arrays(
        np.dtype(name),
        arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3),
        elements=st.integers(-(2**53) + 1, 2**53 - 1) if name == "int64" else None,
    )
)
TEXTS = arrays.arrays(object, arrays.array_shapes(max_dims=2, max_side=3), elements=st.text(max_size=9).map(str.encode))


@REPEATABLE
@given(st.one_of(VALUES, TEXTS), st.booleans(), st.booleans())
def test_what_is_written_is_read_again(array, is_row, is_bytes):
    is_row = is_row and len(array) > 0
    name = "x_bytes" if is_bytes else "x"
    body = predict_response({name: array}, is_row).replace(b'"predictions"', b'"instances"', 1)
    found = asked(body.replace(b'"outputs"', b'"inputs"', 1), **{name: NUMBERS.get(array.dtype.name, STRING)})
    again = found.inputs[name]
    assert found.is_row is is_row and again.dtype == array.dtype
    # Of a list without elements, JSON does not tell what shape they would have had.
    if array.size:
        assert again.shape == array.shape
    np.testing.assert_array_equal(again.ravel(), array.ravel())


def test_the_depth_of_the_largest_array_is_allowed():
    lists = "[" * 64 + "3" + "]" * 64
    found = asked('{"inputs": ' + lists + "}")
    assert found.inputs["x"].shape == (1,) * 64 and found.inputs["x"].sum() == 3
    assert json.loads(predict_response(found.inputs, is_row=False)) == {"outputs": json.loads(lists)}
    assert asked('{"instances": ' + lists + "}").inputs["x"].shape == (1,) * 64
    assert message(asked, '{"inputs": [' + lists + "]}").startswith("JSON Parse error: Nested")


def test_classes_and_values_are_written():
    found = classify_response([[("a", 0.1), (b"\xc3\xa9", 0.75)], [], [("", float(np.float32(0.3)))]])
    assert found == '{\n    "results": [[["a", 0.1], ["é", 0.75]], [], [["", 0.3]]\n    ]\n}'.encode()
    assert regress_response([0.1, 2.0, INFINITY]) == b'{\n    "results": [0.1, 2.0, Infinity]\n}'
    assert message(classify_response, []) == "Cannot convert empty ClassificationResults to JSON"
    assert message(regress_response, []) == "Cannot convert empty RegressionResults to JSON"


def test_an_error_is_written():
    assert error_body('ä "b"\n') == '{\n    "error": "ä \\"b\\"\\n"\n}'.encode()
