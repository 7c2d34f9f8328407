"""Parsing of JSON bodies: values, error messages, and how messages show values."""

import json

import numpy as np
import pytest
from support.json_bodies import message, pretty

from tfbert.serving.server.json_body import float_texts, parse_object, shown, type_name


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "The document is empty"),
        (b" \n\t", "The document is empty. at offset: 3"),
        (b'{"a": x}', "Invalid value. at offset: 6"),
        (b'{"a": [1, ]}', "Invalid value. at offset: 10"),
        (b'{"a": [1,', "Invalid value. at offset: 9"),
        ('{"ä": "é", b}'.encode(), "Missing a name for object member. at offset: 13"),
        (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        (b'{"a]": [[1], 2 3]}', "Missing a comma or ] after an array element. at offset: 15"),
        (b'{"a": {"b[": [4]}; "c": 5}', "Missing a comma or } after an object member. at offset: 17"),
        (b'{"a": "b', "Missing a closing quotation mark in string. at offset: 8"),
        (b'{"a": "b\x01"}', "Invalid encoding in string. at offset: 8"),
        (b'{"a": "b\xff"}', "Invalid encoding in string. at offset: 8"),
        (b'{"a": "\\x"}', "Invalid escape character in string. at offset: 7"),
        (b'{"a": "\\\\\\ud83d\\ude00", "b": "\\ud83d!"}', "The surrogate pair in string is invalid. at offset: 30"),
        (b'{"a": "\\ude00"}', "The surrogate pair in string is invalid. at offset: 7"),
        (b'{"a": -1e999}', "Number too big to be stored in double. at offset: 6"),
        (b'{"a": [5, 1' + b"0" * 5000 + b"]}", "Number too big to be stored in double. at offset: 10"),
    ],
)
def test_what_is_not_json_is_told_in_the_parsers_words(body, expected):
    assert message(parse_object, body) == f"JSON Parse error: {expected}"


def test_a_bad_hex_digit_is_told():
    assert "Incorrect hex digit after \\u escape in string." in message(parse_object, b'{"a": "\\u12g4"}')


@pytest.mark.parametrize(
    ("body", "expected"),
    [("[1, {}]", pretty("[1, {}]")), ('"é"', '"é"'), ("null", "null"), ("1.25", "1.25"), ("0.1", "0.1"), ("7", "7")]
    + [("1e39", "1e+39"), ("NaN", "NaN"), ("-Infinity", "-Infinity")],
)
def test_what_is_no_object_is_shown(body, expected):
    assert message(parse_object, body.encode()) == f"JSON Value: {expected} Is not object"


def test_a_long_value_is_cut():
    text = json.dumps(["a" * 200, "b" * 200, "c"], indent=4)
    assert message(parse_object, text.encode()) == f"JSON Value: {text[:256]} Is not object"


@pytest.mark.parametrize("rest", ["", " \n", "}", "x\\ud800", "[" * 1000])
def test_what_follows_the_object_does_not_matter(rest):
    body = '\ufeff \r\n{"a": "\\\\ud800 \\ud83d\\ude00\\n"}' + rest
    assert parse_object(body.encode()) == {"a": "\\ud800 \U0001f600\n"}


def test_numbers_keep_their_kind():
    body = (
        b'{"a": [2, 2.0, 2e0, -9223372036854775808, 18446744073709551615, 18446744073709551616, 1' + b"0" * 30 + b"]}"
    )
    found = parse_object(body)["a"]
    assert found == [2, 2.0, 2.0, -(2**63), 2**64 - 1, 2.0**64, 1e30]
    assert [type(value) for value in found] == [int, float, float, int, int, float, float]


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"]}\\"":', '["\\\\",'])
@pytest.mark.parametrize("times", [100, 200_000])
def test_deep_nesting_is_refused(opening, times):
    expected = "JSON Parse error: Nested deeper than 65 levels."
    assert message(parse_object, b'{"instances": ' + opening.encode() * times) == expected


def test_brackets_side_by_side_or_in_strings_are_not_deep():
    body = json.dumps({"a": [[]] * 500, "b": "[" * 500 + '"' + "{" * 500})
    assert parse_object(body.encode()) == json.loads(body)


def test_many_quotes_take_no_quadratic_time():
    expected = "JSON Parse error: Missing a closing quotation mark in string."
    assert message(parse_object, b'{"a' + b'\\"[' * 1_000_000).startswith(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "Null"), (True, "True"), (False, "False"), (3, "Number"), (0.5, "Number"), ("a", "String")]
    + [([1], "Array"), ({"a": 1}, "Object")],
)
def test_types_have_the_parsers_names(value, expected):
    assert type_name(value) == expected


def test_values_are_shown_indented_and_cut():
    assert shown({"a": [1, "é"]}) == '{\n    "a": [\n        1,\n        "é"\n    ]\n}'
    # A float32 has the digits of one; a number that none holds has those of a double.
    assert (shown(0.1), shown(1 / 3), shown(1.2345678901e40)) == ("0.1", "0.33333334", "1.2345678901e+40")
    assert shown(["x" * 300]) == ('[\n    "' + "x" * 300)[:256]


def test_floats_that_are_not_finite_have_names():
    values = np.array([[0.1, np.nan], [np.inf, -np.inf]], np.float32)
    assert float_texts(values) == ["0.1", "NaN", "Infinity", "-Infinity"]
    assert float_texts(np.array([0.1, 2.0])) == ["0.1", "2.0"]
