"""Parsing of REST request bodies as JSON, with limits, and display of JSON values in error messages.

TensorFlow Serving parses with RapidJSON. The standard library's parser takes its place here, and its errors are told in
RapidJSON's words.
"""

import json
import math
import re
from typing import Any

import numpy as np

from tfbert.serving.server.status import Code, ServingError

# Of lists and objects in one another. NumPy's arrays have at most 64 dimensions, and the lists of a tensor lie in the
# object that is the body, so nothing deeper can be a tensor; and whatever follows a value down has stack enough.
MAX_DEPTH = 65
# Of a value in a message.
MAX_SHOWN_CHARACTERS = 256

# An unterminated string reaches to the end. Nothing in the pattern is tried twice, so hostile text costs no more time.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKETS = b"[]{}"
_NO_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_SPACE = re.compile(r"[ \t\n\r]*")
# Up to half a surrogate pair without the other half. Outside strings, valid JSON has no backslash.
_LONE_SURROGATE = re.compile(
    r"(?:[^\\]++|\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F]|(?!u[dD][89a-fA-F]).))*+\\u", re.DOTALL
)
_INT64_MIN, _UINT64_END = -(2**63), 2**64
_UINT64_DIGITS = 20
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_ENCODER = json.JSONEncoder(indent=4, ensure_ascii=False)

# What Python's errors start with, and RapidJSON's words.
_WORDS = {
    "Expecting property name": "Missing a name for object member.",
    "Expecting ':'": "Missing a colon after a name of object member.",
    "Unterminated string": "Missing a closing quotation mark in string.",
    "Invalid control character": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX": "Incorrect hex digit after \\u escape in string.",
}
_NO_COMMA = {
    "{": "Missing a comma or } after an object member.",
    "[": "Missing a comma or ] after an array element.",
}


class _TooBigError(Exception):
    """A number is too big for a double."""


def invalid(message: str) -> ServingError:
    """Return the error for an invalid request."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse the JSON object that a body begins with; what comes after it does not matter.

    `NaN`, `Infinity` and `-Infinity` are numbers. A number without fraction and exponent is an `int` if an int64 or a
    uint64 holds it, else a `float`. Of members with one name the last counts.

    Args:
        body: UTF-8.

    Raises:
        ServingError: the body is not JSON, is no object, or is nested too deep.

    Source: TensorFlow Serving 2.20.0, `util/json_tensor.cc`, `ParseJson`, and RapidJSON, `error/en.h`. Ours differs in
        that depth has a limit, bytes that are not UTF-8 are an error, the first of several members with one name does
        not count, `Inf` is not read, and the offset of an error may be another one in the same token.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise invalid(f"JSON Parse error: Invalid encoding in string. at offset: {error.start}") from None
    if _is_too_deep(body):
        raise invalid(f"JSON Parse error: Nested deeper than {MAX_DEPTH} levels.")
    start = _SPACE.match(text).end()
    if start == len(text):
        raise _parse_error("The document is empty.", body, text, start)
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise _parse_error(_words_of(error), body, text, _position_of(error)) from None
    except _TooBigError as error:
        raise _parse_error("Number too big to be stored in double.", body, text, text.find(str(error))) from None
    lone = _LONE_SURROGATE.match(text, start, end)
    if lone:
        raise _parse_error("The surrogate pair in string is invalid.", body, text, lone.end() - 2)
    if not isinstance(value, dict):
        raise invalid(f"JSON Value: {shown(value)} Is not object")
    return value


def shown(value: Any) -> str:
    """Return a JSON value as messages show it: indented, and cut if it is long."""
    if isinstance(value, float):
        return float_texts(np.array([value], np.float32 if abs(value) <= _FLOAT32_MAX else np.float64))[0]
    parts, size = [], 0
    for part in _ENCODER.iterencode(value):
        parts.append(part)
        size += len(part)
        if size >= MAX_SHOWN_CHARACTERS:
            break
    return "".join(parts)[:MAX_SHOWN_CHARACTERS]


def type_name(value: Any) -> str:
    """Return RapidJSON's name of a value's type."""
    if isinstance(value, bool):
        return str(value)
    return {type(None): "Null", dict: "Object", list: "Array", str: "String"}.get(type(value), "Number")


def float_texts(values: np.ndarray) -> list[str]:
    """Return the shortest texts that give the same numbers again, in the precision that they have.

    Args:
        values: float32 or float64, of any shape.

    Returns:
        JSON, except for `NaN`, `Infinity` and `-Infinity`; always with a point or an exponent.
    """
    texts = list(map(str, values.ravel()))
    if np.isfinite(values).all():
        return texts
    return [_NOT_FINITE.get(text, text) for text in texts]


def _depths(text: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the brackets outside strings.

    Returns:
        The brackets in order: uint8 `(brackets,)`; whether each opens: bool; how many are open after each: int32.
    """
    marks = np.frombuffer(_STRING.sub(b"", text).translate(None, _NO_BRACKETS), np.uint8)
    opens = (marks == ord("[")) | (marks == ord("{"))
    return marks, opens, np.cumsum(np.where(opens, 1, -1), dtype=np.int32)


def _is_too_deep(body: bytes) -> bool:
    """Return whether the first value of a body is nested too deeply, without recursion."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return False
    _, _, depths = _depths(body)
    ends = np.flatnonzero(depths <= 0)
    return depths[: ends[0] if ends.size else None].max(initial=0) > MAX_DEPTH


def _double(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _TooBigError(text)
    return value


def _integer(text: str) -> int | float:
    # Python refuses to read an int of thousands of digits, as that takes quadratic time.
    if len(text) <= _UINT64_DIGITS and _INT64_MIN <= int(text) < _UINT64_END:
        return int(text)
    return _double(text)


_DECODER = json.JSONDecoder(parse_float=_double, parse_int=_integer)


def _parse_error(words: str, body: bytes, text: str, position: int) -> ServingError:
    """Return the error that names the place of a character by its byte."""
    return invalid(f"JSON Parse error: {words} at offset: {len(body) - len(text[position:].encode())}")


def _words_of(error: json.JSONDecodeError) -> str:
    if error.msg.startswith("Expecting ','"):
        return _NO_COMMA[_open_bracket(error.doc[: error.pos])]
    return next((words for start, words in _WORDS.items() if error.msg.startswith(start)), "Invalid value.")


def _position_of(error: json.JSONDecodeError) -> int:
    """Return the position where RapidJSON reports an error: an unterminated string is reported at the end."""
    return len(error.doc) if error.msg.startswith("Unterminated string") else error.pos


def _open_bracket(text: str) -> str:
    """Return the last bracket that is not closed, in text that was valid so far."""
    marks, opens, depths = _depths(text.encode())
    return chr(marks[np.flatnonzero(opens & (depths == depths[-1]))[-1]])
