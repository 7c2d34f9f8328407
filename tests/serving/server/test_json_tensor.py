"""REST requests: their tensors, and the real server's error messages."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.json_bodies import (
    BOOL,
    DOUBLE,
    FLOAT,
    HALF,
    INFINITY,
    INT8,
    INT32,
    INT64,
    REPEATABLE,
    STRING,
    UINT8,
    UINT32,
    UINT64,
    asked,
    check_array,
    message,
    pretty,
)

from tfbert.serving.server import json_tensor
from tfbert.serving.server.json_tensor import error_body, examples_request, parse_object, predict_request
from tfbert.serving.server.status import Code, ServingError

NOT_A_STRING = "'signature_name' key must be a string value."
ONE_OF_TWO = "one of 'inputs' or 'instances' keys to exist"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"signature_name": 5, "inputs": 1}', f"not formatted correctly. {NOT_A_STRING}"),
        ('{"instances": [1], "inputs": 2}', f"Not formatted correctly expecting only {ONE_OF_TWO} "),
        ('{"instances": {"x": 1}}', "Expecting 'instances' to be an list/array"),
        ('{"instances": []}', "No values in 'instances' array"),
    ],
)
def test_a_malformed_request_is_shown(body, expected):
    assert message(asked, body) == f"JSON Value: {pretty(body)} {expected}"


ELEMENT = "Failed to process element: {} of 'instances' list. "


@pytest.mark.parametrize(
    ("body", "inputs", "expected"),
    [
        ('{"signature_name": "s"}', {}, "Missing 'inputs' or 'instances' key"),
        (
            '{"instances": [1, 2]}',
            {"x": INT32, "y": INT64},
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        (
            '{"instances": [{"b64": "aGk="}]}',
            {"x": STRING, "y": STRING},
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        (
            '{"inputs": [1, 2]}',
            {"x": INT32, "y": INT64},
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        ('{"inputs": {"x": 1}}', {"x": INT32, "y": INT32}, "Missing named input: y in 'inputs' object."),
        ('{"instances": [{"x": 1}, 2]}', {}, "Expecting object but got list at item 1 of input list"),
        ('{"instances": [1, 2, {"x": 3}]}', {}, "Expecting value/list but got object at item 2 of input list"),
        (
            '{"instances": [{"x": 1}, {"x": 2, "z": 3}]}',
            {},
            ELEMENT.format("1 key: z") + "Error: INVALID_ARGUMENT: JSON object: does not have named input: z",
        ),
        (
            '{"instances": [{"y": 1, "x": 2}, {"y": 3}]}',
            {"y": INT32, "x": INT32},
            ELEMENT.format(1) + 'JSON object: {\n    "y": 3\n} keys must be equal to: x,y',
        ),
        (
            '{"instances": [[1, 2], [3, 4], [5, 6, 7]]}',
            {},
            ELEMENT.format(2) + "Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: 3",
        ),
        (
            '{"instances": [{"x": [1, 2]}, {"x": [[3, 4]]}]}',
            {},
            ELEMENT.format("1 key: x") + "Error: INVALID_ARGUMENT: Expecting shape [2] but got: [1,2]",
        ),
        ('{"inputs": [[1, 2], [3]]}', {}, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ('{"inputs": [[], [3]]}', {}, "Encountered list at unexpected size: 1 at level: 1 expected size: 0"),
        ('{"inputs": [1, [2]]}', {}, "Encountered list at unexpected level: 1 expected < 1"),
        (
            '{"inputs": [[1], 2]}',
            {},
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        (
            '{"inputs": [[[1], [2]], [3, 4]]}',
            {},
            "JSON Value: 3 found at incorrect level: 3 in the JSON DOM. Expected at level: 3",
        ),
        ('{"inputs": "a"}', {"x": FLOAT}, 'JSON Value: "a" Type: String is not of expected type: float'),
        ('{"inputs": null}', {"x": STRING}, "JSON Value: null Type: Null is not of expected type: string"),
        ('{"inputs": true}', {"x": INT64}, "JSON Value: true Type: True is not of expected type: int64"),
        ('{"inputs": false}', {"x": DOUBLE}, "JSON Value: false Type: False is not of expected type: double"),
        ('{"inputs": 1}', {"x": BOOL}, "JSON Value: 1 Type: Number is not of expected type: bool"),
        ('{"inputs": 2.0}', {}, "JSON Value: 2.0 Type: Number is not of expected type: int32"),
        ('{"inputs": 3}', {"x": STRING}, "JSON Value: 3 Type: Number is not of expected type: string"),
        (
            '{"inputs": {"b64": "aGk="}}',
            {},
            'JSON Value: {\n    "b64": "aGk="\n} Type: Object is not of expected type: int32',
        ),
        ('{"inputs": 2147483648}', {}, "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
        ('{"inputs": [1, 300, "a"]}', {"x": INT8}, "JSON Value: 300 Type: Number is not of expected type: int8"),
        ('{"inputs": [1, 2, -200]}', {"x": INT8}, "JSON Value: -200 Type: Number is not of expected type: int8"),
        (
            '{"inputs": [0.5, NaN, 1e39]}',
            {"x": FLOAT},
            "Cannot convert JSON value: 1e+39 to float without loss of precision.",
        ),
        ('{"inputs": 128}', {"x": INT8}, "JSON Value: 128 Type: Number is not of expected type: int8"),
        ('{"inputs": -1}', {"x": UINT8}, "JSON Value: -1 Type: Number is not of expected type: uint8"),
        (
            '{"inputs": 9223372036854775808}',
            {"x": INT64},
            "JSON Value: 9223372036854775808 Type: Number is not of expected type: int64",
        ),
        (
            '{"inputs": 16777216}',
            {"x": FLOAT},
            "Cannot convert JSON value: 16777216 to float without loss of precision.",
        ),
        ('{"inputs": -1e39}', {"x": FLOAT}, "Cannot convert JSON value: -1e+39 to float without loss of precision."),
        (
            '{"inputs": 9007199254740992}',
            {"x": DOUBLE},
            "Cannot convert JSON value: 9007199254740992 to double without loss of precision.",
        ),
        (
            '{"inputs": [{"b64": 4}]}',
            {"x": STRING},
            'JSON Value: {\n    "b64": 4\n} not formatted correctly for base64 data',
        ),
        ('{"inputs": {"b64": "a"}}', {"x": STRING}, "Unable to base64 decode"),
        ('{"inputs": {"b64": "aGk=="}}', {"x": STRING}, "Unable to base64 decode"),
        ('{"inputs": {"b64": "aG*="}}', {"x": STRING}, "Unable to base64 decode"),
        ('{"inputs": {"b64": "äöü"}}', {"x": STRING}, "Unable to base64 decode"),
        (
            '{"instances": [6]}',
            {"x": HALF},
            ELEMENT.format(0) + "Error: UNIMPLEMENTED: Conversion of JSON Value: 6 to type: half",
        ),
    ],
)
def test_a_request_that_does_not_fit_says_why(body, inputs, expected):
    assert message(asked, body, **inputs) == expected


def test_a_signature_is_asked_for_by_name():
    names = []

    def signature(name):
        names.append(name)
        return {"x": INT64} if name else {}

    found = predict_request(b'{"signature_name": "tags", "instances": [8]}', signature)
    assert (found.signature_name, found.is_row) == ("tags", True)
    expected = "Failed to get input map for signature: DEFAULT"
    assert message(predict_request, b'{"instances": [9]}', signature) == expected
    assert names == ["tags", ""]

    def unknown(name):
        raise ServingError(Code.NOT_FOUND, "no such signature")

    assert message(predict_request, b"{}", unknown, code=Code.NOT_FOUND) == "no such signature"


@pytest.mark.parametrize(
    ("body", "dtype", "kind", "expected"),
    [
        ('{"instances": [[1, 2], [3, 4], [5, 6]]}', INT32, np.int32, [[1, 2], [3, 4], [5, 6]]),
        ('{"instances": [{"x": 7}, {"x": 8}]}', INT64, np.int64, [7, 8]),
        ('{"instances": [1, 2.5, -3, 4e0]}', DOUBLE, np.float64, [1.0, 2.5, -3.0, 4.0]),
        ('{"instances": [16777215, Infinity, 0.5]}', FLOAT, np.float32, [16777215.0, INFINITY, 0.5]),
        ('{"instances": [true, false]}', BOOL, np.bool_, [True, False]),
        ('{"instances": [[], []]}', INT32, np.int32, [[], []]),
        ('{"instances": ["ä", {"b64": "/w=="}]}', STRING, object, ["ä".encode(), b"\xff"]),
        ('{"instances": [{"x": {"b64": "aGk"}}, {"x": "\\u0000"}]}', STRING, object, [b"hi", b"\x00"]),
        ('{"inputs": [[{"b64": "a G\\nk="}], ["ho"]]}', STRING, object, [[b"hi"], [b"ho"]]),
        ('{"inputs": {"b64": ""}}', STRING, object, b""),
        ('{"inputs": {"x": {"b64": "aG8="}, "other": [1, [2]]}}', STRING, object, b"ho"),
        ('{"inputs": {"b64": "aGV5", "x": "named"}}', STRING, object, b"named"),
        ('{"inputs": []}', FLOAT, np.float32, []),
        ('{"inputs": [-2147483648, 2147483647]}', INT32, np.int32, [-(2**31), 2**31 - 1]),
        ('{"inputs": [18446744073709551615]}', UINT64, np.uint64, [2**64 - 1]),
        ('{"inputs": [4294967295]}', UINT32, np.uint32, [2**32 - 1]),
    ],
)
def test_one_input_is_read(body, dtype, kind, expected):
    found = asked(body, x=dtype)
    assert found.is_row is ("instances" in body) and list(found.inputs) == ["x"]
    check_array(found.inputs["x"], kind, np.array(expected, object).tolist() if kind is object else expected)


def test_nan_is_read():
    assert math.isnan(asked('{"inputs": NaN}', x=FLOAT).inputs["x"])


def test_several_inputs_are_read_in_both_formats():
    dtypes = {"ids": INT32, "text": STRING, "weight": FLOAT}
    rows = [{"weight": 0.25, "ids": [1, 2], "text": "a"}, {"ids": [3, 4], "text": "b", "weight": 5}]
    columns = {name: [row[name] for row in rows] for name in dtypes}
    for body in ({"instances": rows}, {"inputs": {**columns, "unknown": None}}):
        found = asked(json.dumps(body), **dtypes).inputs
        assert list(found) == list(dtypes)
        check_array(found["ids"], np.int32, [[1, 2], [3, 4]])
        check_array(found["text"], object, [b"a", b"b"])
        check_array(found["weight"], np.float32, [0.25, 5.0])


@REPEATABLE
@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_body_is_answered(body):
    for parse in (parse_object, asked, examples_request):
        for text in (body, b'{"instances": ' + body, b'{"inputs": ["' + body + b'"]}'):
            try:
                parse(text)
            except ServingError as error:
                assert error.code is Code.INVALID_ARGUMENT
                assert json.loads(error_body(error.message)) == {"error": error.message}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["b64", "x", "y"]), inner, max_size=2),
    max_leaves=9,
)


@REPEATABLE
@given(JSON, st.sampled_from([FLOAT, INT8, STRING, UINT64, BOOL, HALF]))
def test_any_value_is_answered(value, dtype):
    for key in ("instances", "inputs"):
        try:
            asked(json.dumps({key: value}), x=dtype)
        except ServingError as error:
            assert error.code in (Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED)
    try:
        examples_request(json.dumps({"examples": [value], "context": {"x": value}}).encode())
    except ServingError as error:
        assert error.code is Code.INVALID_ARGUMENT


def test_examples_have_typed_features_and_the_context():
    body = b"""{
        "signature_name": "classify",
        "context": {"text": "all", "year": 2020, "shared": [1.5, NaN]},
        "examples": [
            {"text": ["a", {"b64": "/w=="}], "is_new": true, "count": [3, false], "rate": 2.0},
            {"year": 2021.0, "none": []}
        ]
    }"""
    found = examples_request(body)
    assert found.signature_name == "classify" and len(found.examples) == 2
    first, second = found.examples
    assert list(first) == ["text", "year", "shared", "is_new", "count", "rate"]
    check_array(first["text"], object, [b"a", b"\xff"])
    check_array(first["year"], np.int64, [2020])
    check_array(first["is_new"], np.int64, [1])
    check_array(first["count"], np.int64, [3, 0])
    check_array(first["rate"], np.float32, [2.0])
    np.testing.assert_array_equal(first["shared"], np.array([1.5, np.nan], np.float32))
    check_array(second["text"], object, [b"all"])
    check_array(second["year"], np.float32, [2021.0])
    check_array(second["none"], object, [])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"signature_name": null}', f"JSON Value: {{}} not formatted correctly. {NOT_A_STRING}"),
        ('{"context": {}}', "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
        ('{"examples": {"a": 1}}', "JSON Value: {} Expecting 'examples' value to be an list/array"),
        ('{"examples": []}', "JSON Value: {} 'examples' value is an empty array"),
        ('{"examples": [[2]]}', "Example must be JSON object but got JSON Array"),
        ('{"context": "a", "examples": [{}]}', "Example must be JSON object but got JSON String"),
        ('{"examples": [{"a": null}]}', "Feature: a has element with unexpected JSON type: Null"),
        ('{"examples": [{"a": [[3]]}]}', "Feature: a has element with unexpected JSON type: Array"),
        ('{"examples": [{"a": {"b64": 4}}]}', "Feature: a has element with unexpected JSON type: Object"),
        ('{"examples": [{"a": [5, 5.0]}]}', "Unexpected element type in feature: a expecting type: int64"),
        ('{"examples": [{"a": [6.0, true]}]}', "Unexpected element type in feature: a expecting type: float"),
        ('{"examples": [{"a": ["7", 7]}]}', "Unexpected element type in feature: a expecting type: bytes"),
        ('{"examples": [{"a": 9223372036854775808}]}', "Feature: a has uint64 element. Only int64 is supported."),
        ('{"examples": [{"a": 1e39}]}', "Cannot convert JSON value: 1e+39 to float without loss of precision."),
        ('{"examples": [{"a": {"b64": "?"}}]}', "Unable to base64 decode"),
    ],
)
def test_examples_that_are_none_say_why(body, expected):
    assert message(examples_request, body.encode()) == expected.replace("{}", pretty(body), 1)


def test_it_needs_no_tensorflow():
    program = f"import sys, {json_tensor.__name__}\nassert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
