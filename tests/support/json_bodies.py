"""Helpers for tests of REST bodies: dtype numbers, parsed requests, and messages of errors."""

import json

import numpy as np
import pytest
from hypothesis import settings

from tfbert.serving.server.json_tensor import predict_request
from tfbert.serving.server.status import Code, ServingError

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=60)
FLOAT, DOUBLE, INT32, UINT8, INT16, INT8, STRING, INT64, BOOL = 1, 2, 3, 4, 5, 6, 7, 9, 10
HALF, UINT32, UINT64 = 19, 22, 23
NUMBERS = {"float32": FLOAT, "float64": DOUBLE, "int32": INT32, "uint8": UINT8, "int16": INT16, "int8": INT8}
NUMBERS |= {"int64": INT64, "bool": BOOL, "uint16": 17, "uint32": UINT32, "uint64": UINT64}
INFINITY = float("inf")


def asked(body, **inputs):
    """Return the parsed request of a body, for a signature with these inputs (by default `x` of int32)."""
    body = body if isinstance(body, bytes) else body.encode()
    return predict_request(body, lambda _: inputs or {"x": INT32})


def message(function, *args, code=Code.INVALID_ARGUMENT, **kwargs):
    with pytest.raises(ServingError) as caught:
        function(*args, **kwargs)
    assert caught.value.code is code
    return caught.value.message


def pretty(text):
    return json.dumps(json.loads(text), indent=4)


def check_array(array, dtype, expected):
    assert array.dtype == dtype
    assert array.shape == np.shape(expected)
    assert array.tolist() == expected
