"""Conversion of JSON values to tensors: shapes, ranges, precision and base64."""

import numpy as np
import pytest
from support.json_bodies import BOOL, DOUBLE, FLOAT, HALF, INT8, INT32, INT64, STRING, UINT64, asked, message

from tfbert.serving.server.json_values import converted, flat, is_base64, to_array
from tfbert.serving.server.status import Code


@pytest.mark.parametrize(
    ("value", "shape", "values"),
    [(5, (), [5]), ([], (0,), []), ([[1, 2], [3, 4], [5, 6]], (3, 2), [1, 2, 3, 4, 5, 6]), ([[[7]]], (1, 1, 1), [7])],
)
def test_lists_are_flattened(value, shape, values):
    assert flat(value, INT32) == (shape, values)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([[1], [2, 3]], "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
        ([4, [5]], "Encountered list at unexpected level: 1 expected < 1"),
        ([[6], 7], "JSON Value: 7 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ([[8, 9], [10, "a"]], 'JSON Value: "a" Type: String is not of expected type: int32'),
    ],
)
def test_lists_that_are_no_tensor_are_refused(value, expected):
    assert message(flat, value, INT32) == expected


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(2**24 - 1, FLOAT), (-(2**24) + 1, FLOAT), (float(np.finfo(np.float32).max), FLOAT), (float("inf"), FLOAT)]
    + [(2**53 - 1, DOUBLE), (1e300, DOUBLE), (127, INT8), (-128, INT8), (2**63 - 1, INT64), (2**64 - 1, UINT64)]
    + [(True, BOOL)],
)
def test_numbers_that_keep_their_value_are_taken(value, dtype):
    assert converted(value, dtype) is value
    assert to_array([value], [1], dtype)[0] == value


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(2**24, FLOAT), (1e39, FLOAT), (2**53, DOUBLE), (128, INT8), (2**63, INT64), (-1, UINT64), (1.0, INT64)]
    + [(True, INT32), (1, BOOL), ("1", FLOAT), (None, STRING), (True, DOUBLE)],
)
def test_numbers_that_would_change_are_refused(value, dtype):
    message(converted, value, dtype)
    # A long list is checked at once, with the same result.
    message(flat, [value] * 50, dtype)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("aGk=", b"hi"), ("aGk", b"hi"), (" aG k=\n", b"hi"), ("", b""), ("/w==", b"\xff"), ("aGkh", b"hi!")],
)
def test_base64_is_read_with_white_space_and_without_padding(text, expected):
    assert converted({"b64": text}, STRING) == expected


@pytest.mark.parametrize("text", ["a", "aGk==", "aG*=", "äöü", "aGk=aGk="])
def test_what_is_no_base64_is_refused(text):
    assert message(converted, {"b64": text}, STRING) == "Unable to base64 decode"


@pytest.mark.parametrize(
    ("value", "expected"),
    [({"b64": "aGk="}, True), ({"b64": 4}, False), ({"b64": "", "x": 1}, False), ({}, False), ("b64", False)],
)
def test_an_object_of_base64_has_one_member(value, expected):
    assert is_base64(value) is expected


def test_arrays_have_the_dtype_and_shape_of_the_signature():
    array = to_array([1, 2, 3, 4, 5, 6], (3, 2), INT8)
    assert array.dtype == np.int8 and array.tolist() == [[1, 2], [3, 4], [5, 6]]
    texts = to_array([b"a", "é".encode()], [2], STRING)
    assert texts.dtype == object and texts.tolist() == [b"a", b"\xc3\xa9"]
    expected = "Conversion of JSON Value: [] to type: half"
    assert message(to_array, [], [0], HALF, code=Code.UNIMPLEMENTED) == expected


@pytest.mark.parametrize(
    ("value", "dtype", "name"), [("5", HALF, "half"), ("[]", 14, "bfloat16"), ("7", 18, "complex128")]
)
def test_a_dtype_that_json_cannot_give_is_unimplemented(value, dtype, name):
    found = message(asked, f'{{"inputs": {value}}}', code=Code.UNIMPLEMENTED, x=dtype)
    assert found == f"Conversion of JSON Value: {value} to type: {name}"
