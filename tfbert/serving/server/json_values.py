"""Conversion of JSON values to the dtype of a tensor."""

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfbert.serving.server.json_body import invalid, shown, type_name
from tfbert.serving.server.status import Code, ServingError

FLOAT, _DOUBLE, STRING, _BOOL = 1, 2, 7, 10
# TensorFlow's DataType: number, name, and what NumPy calls it.
_DTYPES: dict[int, tuple[str, type]] = {
    FLOAT: ("float", np.float32),
    _DOUBLE: ("double", np.float64),
    3: ("int32", np.int32),
    4: ("uint8", np.uint8),
    5: ("int16", np.int16),
    6: ("int8", np.int8),
    STRING: ("string", object),
    9: ("int64", np.int64),
    _BOOL: ("bool", np.bool_),
    17: ("uint16", np.uint16),
    22: ("uint32", np.uint32),
    23: ("uint64", np.uint64),
}
# Those that JSON cannot give.
_OTHER_NAMES = {8: "complex64", 11: "qint8", 12: "quint8", 13: "qint32", 14: "bfloat16", 15: "qint16", 16: "quint16"}
_OTHER_NAMES |= {18: "complex128", 19: "half", 20: "resource", 21: "variant"}
_RANGES = {
    number: (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    for number, (_, dtype) in _DTYPES.items()
    if np.issubdtype(dtype, np.integer)
}
# The largest integer that keeps all its bits, and the largest number.
_LARGEST = {FLOAT: (2**24 - 1, float(np.finfo(np.float32).max)), _DOUBLE: (2**53 - 1, math.inf)}


def flat(value: Any, dtype: int) -> tuple[tuple[int, ...], list]:
    """Flatten nested lists of values.

    Args:
        value: JSON; a value that is no list is a scalar.
        dtype: number of a DataType.

    Returns:
        The shape, which the first list of each level tells, and the values in order.

    Raises:
        ServingError: the lists of a level differ in length, or a value is none of this dtype.

    Source: TensorFlow Serving 2.20.0, `util/json_tensor.cc`, `FillTensorProto`.
    """
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    found: list = []
    _fill(found, value, 0, shape, dtype)
    return tuple(shape), found


def _fill(found: list, value: Any, level: int, shape: list[int], dtype: int) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            place = f"found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {len(shape)}"
            raise invalid(f"JSON Value: {shown(value)} {place}")
        found.append(converted(value, dtype))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        sizes = f"{len(value)} at level: {level} expected size: {shape[level]}"
        raise invalid(f"Encountered list at unexpected size: {sizes}")
    if level == len(shape) - 1 and _are_plain(value, dtype):
        found += value
        return
    for element in value:
        _fill(found, element, level + 1, shape, dtype)


def _are_plain(values: list, dtype: int) -> bool:
    """Return whether a tensor can hold all values unchanged; fast for long lists of numbers."""
    kinds = set(map(type, values))
    if kinds == {int} and dtype in _RANGES:
        return _RANGES[dtype][0] <= min(values) and max(values) <= _RANGES[dtype][1]
    return kinds == {float} and dtype in _LARGEST and max(map(abs, values)) <= _LARGEST[dtype][1]


def converted(value: Any, dtype: int) -> Any:
    """Return a JSON value that is not a list as a value of a tensor.

    Raises:
        ServingError: the dtype cannot hold it.
    """
    kind = type(value)
    if dtype == STRING and kind is str:
        return value.encode()
    if dtype == STRING and kind is dict:
        return _decoded(value)
    if kind is not dict and dtype not in _DTYPES:
        raise _unsupported(value, dtype)
    if dtype in _LARGEST and kind in (int, float):
        return _exact(value, dtype)
    if dtype == _BOOL and kind is bool:
        return value
    if dtype in _RANGES and kind is int and _RANGES[dtype][0] <= value <= _RANGES[dtype][1]:
        return value
    wish = f"is not of expected type: {_dtype_name(dtype)}"
    raise invalid(f"JSON Value: {shown(value)} Type: {type_name(value)} {wish}")


def _exact(value: float, dtype: int) -> float:
    """Return a number that a float or a double can hold."""
    largest_int, largest = _LARGEST[dtype]
    fits = abs(value) <= largest_int if isinstance(value, int) else not largest < abs(value) < math.inf
    if not fits:
        raise invalid(f"Cannot convert JSON value: {shown(value)} to {_dtype_name(dtype)} without loss of precision.")
    return value


def to_array(values: list, shape: Sequence[int], dtype: int) -> np.ndarray:
    """Return what `flat` found as an array, of `bytes` objects for strings.

    Raises:
        ServingError: JSON cannot give this dtype.
    """
    if dtype not in _DTYPES:
        raise _unsupported([], dtype)
    return np.array(values, _DTYPES[dtype][1]).reshape(shape)


def _dtype_name(dtype: int) -> str:
    return _DTYPES[dtype][0] if dtype in _DTYPES else _OTHER_NAMES.get(dtype, f"unknown dtype enum ({dtype})")


def _unsupported(value: Any, dtype: int) -> ServingError:
    return ServingError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {shown(value)} to type: {_dtype_name(dtype)}")


def is_base64(value: Any) -> bool:
    """Return whether a value is an object with bytes in base64."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _decoded(value: dict) -> bytes:
    """Return the bytes of a base64 object. White space does not count, and the padding may be left out."""
    if not is_base64(value):
        raise invalid(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    try:
        text = b"".join(value["b64"].encode("ascii").split())
        digits = text.rstrip(b"=")
        padding = b"=" * (-len(digits) % 4)
        if len(text) not in (len(digits), len(digits + padding)):
            raise ValueError("too much or too little padding")
        return base64.b64decode(digits + padding, validate=True)
    except ValueError:
        raise invalid("Unable to base64 decode") from None
