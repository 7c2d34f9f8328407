"""Reads tensor protos of clients, after checking that a small message does not describe a huge tensor."""

import math

import numpy as np
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow.core.framework import types_pb2

from tfbert.serving.server.status import Code, ServingError

# A message may leave out values that repeat its last one, so a few bytes can describe a tensor of any size. These are
# the most elements that are filled in. Strings are the texts to tokenize, which costs more than numbers do.
MOST_FILLED_NUMBERS = 2**12
MOST_FILLED_STRINGS = 2**6
MOST_FILLED_BYTES = 2**16
# NumPy has no more.
_MOST_DIMENSIONS = 64
# The field that holds the values of a type, and how many of its entries make one value.
# Source: TensorFlow 2.20.0, `framework/tensor.proto`.
_FIELDS = {
    types_pb2.DT_FLOAT: ("float_val", 1),
    types_pb2.DT_DOUBLE: ("double_val", 1),
    types_pb2.DT_INT32: ("int_val", 1),
    types_pb2.DT_INT16: ("int_val", 1),
    types_pb2.DT_INT8: ("int_val", 1),
    types_pb2.DT_UINT16: ("int_val", 1),
    types_pb2.DT_UINT8: ("int_val", 1),
    types_pb2.DT_STRING: ("string_val", 1),
    types_pb2.DT_COMPLEX64: ("scomplex_val", 2),
    types_pb2.DT_COMPLEX128: ("dcomplex_val", 2),
    types_pb2.DT_INT64: ("int64_val", 1),
    types_pb2.DT_BOOL: ("bool_val", 1),
    types_pb2.DT_HALF: ("half_val", 1),
    types_pb2.DT_BFLOAT16: ("half_val", 1),
    types_pb2.DT_UINT32: ("uint32_val", 1),
    types_pb2.DT_UINT64: ("uint64_val", 1),
}


def type_name(number: int) -> str:
    """Return the name that TensorFlow's C++ code gives a type, such as `float` for DT_FLOAT."""
    if number not in types_pb2.DataType.values():
        return f"unknown dtype enum ({number})"
    return types_pb2.DataType.Name(number).removeprefix("DT_").lower()


def to_array(name: str, proto: Message) -> np.ndarray:
    """Return the array that a `TensorProto` describes, strings as an object array of `bytes`.

    Nothing is allocated before type, shape and number of values are known to fit together.

    Args:
        name: of the input, for messages.
        proto: from a client.

    Raises:
        ServingError: the proto describes no tensor, or one with many more elements than it has values.
    """
    _check(name, proto)
    try:
        return tf.make_ndarray(proto)
    except Exception as error:
        # A proto can be wrong in more ways, and NumPy reports each in its own words.
        raise _invalid(name, f"cannot be read: {type(error).__name__}") from None


def _check(name: str, proto: Message) -> None:
    if proto.dtype not in _FIELDS:
        raise _invalid(name, f"has the type {type_name(proto.dtype)}, which cannot be sent")
    if proto.tensor_shape.unknown_rank:
        raise _invalid(name, "has a shape of unknown rank; expected the size of each dimension")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if len(shape) > _MOST_DIMENSIONS:
        raise _invalid(name, f"has {len(shape)} dimensions; expected at most {_MOST_DIMENSIONS}")
    if min(shape, default=0) < 0:
        raise _invalid(name, f"has the shape {shape}; expected sizes of 0 or more")
    count = math.prod(shape)
    field, width = _FIELDS[proto.dtype]
    if proto.tensor_content:
        _check_content(name, proto, shape, count)
        return
    num_values = len(getattr(proto, field)) // width
    if num_values > count:
        raise _invalid(name, f"has {num_values} values for the shape {shape}, which takes {count}")
    # Of a tensor without elements the other sizes count too: what the model computes may depend on them.
    size = math.prod(max(1, each) for each in shape)
    most = MOST_FILLED_STRINGS if field == "string_val" else MOST_FILLED_NUMBERS
    filled_bytes = (count - num_values) * len(proto.string_val[-1]) if proto.string_val else 0
    if size > max(num_values, most) or filled_bytes > MOST_FILLED_BYTES:
        limits = f"more than {most:,} elements" + (f" or {MOST_FILLED_BYTES:,} bytes" if filled_bytes else "")
        message = f"has {num_values} values for the shape {shape}; all values of a tensor of {limits} must be sent"
        raise _invalid(name, message)


def _check_content(name: str, proto: Message, shape: list[int], count: int) -> None:
    if proto.dtype == types_pb2.DT_STRING:
        raise _invalid(name, "has strings in tensor_content; expected them in string_val")
    expected = count * tf.as_dtype(proto.dtype).size
    if len(proto.tensor_content) != expected:
        found = f"has {len(proto.tensor_content)} bytes of tensor_content for the shape {shape}"
        raise _invalid(name, f"{found}, which takes {expected}")


def _invalid(name: str, message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, f"Tensor {name} {message}")
