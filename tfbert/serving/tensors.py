"""Conversion between Python values and the tensors of TensorFlow Serving's gRPC API, without TensorFlow."""

import functools
import itertools
import math
import struct
from collections.abc import Sequence
from typing import Any

from google.protobuf import any_pb2, wrappers_pb2
from google.protobuf.message import Message

from tfbert.serving.messages import message_classes

# The fields of the messages that the client uses.
# Source: TensorFlow 2.20.0, `types.proto`, `tensor_shape.proto`, `tensor.proto`, `meta_graph.proto`; TensorFlow Serving
# 2.20.0, `model.proto`, `predict.proto`, `get_model_metadata.proto`, where `Dim` is nested in `TensorShapeProto`.
_DATA_TYPES = {
    "DT_INVALID": 0, "DT_FLOAT": 1, "DT_DOUBLE": 2, "DT_INT32": 3, "DT_UINT8": 4, "DT_INT16": 5, "DT_INT8": 6,
    "DT_STRING": 7, "DT_INT64": 9, "DT_BOOL": 10, "DT_BFLOAT16": 14, "DT_UINT16": 17, "DT_HALF": 19, "DT_RESOURCE": 20,
    "DT_VARIANT": 21, "DT_UINT32": 22, "DT_UINT64": 23,
}  # fmt: skip
_TENSORFLOW = {
    "DataType": _DATA_TYPES,
    "Dim": {"size": "1 int64", "name": "2 string"},
    "TensorShapeProto": {"dim": "2 repeated .tensorflow.Dim", "unknown_rank": "3 bool"},
    "TensorProto": {
        "dtype": "1 .tensorflow.DataType",
        "tensor_shape": "2 .tensorflow.TensorShapeProto",
        "tensor_content": "4 bytes",
        "float_val": "5 repeated float",
        "int_val": "7 repeated int32",
        "string_val": "8 repeated bytes",
        "int64_val": "10 repeated int64",
        "bool_val": "11 repeated bool",
    },
    "TensorInfo": {
        "name": "1 string",
        "dtype": "2 .tensorflow.DataType",
        "tensor_shape": "3 .tensorflow.TensorShapeProto",
    },
    "SignatureDef": {
        "inputs": "1 map .tensorflow.TensorInfo",
        "outputs": "2 map .tensorflow.TensorInfo",
        "method_name": "3 string",
        "defaults": "4 map .tensorflow.TensorProto",
    },
}
_SERVING = {
    "ModelSpec": {"name": "1 string", "version": "2 .google.protobuf.Int64Value", "signature_name": "3 string"},
    "PredictRequest": {"model_spec": "1 .tensorflow.serving.ModelSpec", "inputs": "2 map .tensorflow.TensorProto"},
    "PredictResponse": {"outputs": "1 map .tensorflow.TensorProto", "model_spec": "2 .tensorflow.serving.ModelSpec"},
    "SignatureDefMap": {"signature_def": "1 map .tensorflow.SignatureDef"},
    "GetModelMetadataRequest": {
        "model_spec": "1 .tensorflow.serving.ModelSpec",
        "metadata_field": "2 repeated string",
    },
    "GetModelMetadataResponse": {
        "model_spec": "1 .tensorflow.serving.ModelSpec",
        "metadata": "2 map .google.protobuf.Any",
    },
}
# For each dtype of inputs and outputs of exports, the field with its values and its format character in `struct`.
_FIELDS = {
    "DT_FLOAT": ("float_val", "f"),
    "DT_INT32": ("int_val", "i"),
    "DT_INT64": ("int64_val", "q"),
    "DT_BOOL": ("bool_val", "?"),
    "DT_STRING": ("string_val", None),
}


@functools.cache
def api_messages() -> dict[str, type[Message]]:
    """Return the message classes of the API by name, such as `PredictRequest`."""
    packages = {"tensorflow": _TENSORFLOW, "tensorflow.serving": _SERVING}
    return message_classes(packages, [any_pb2.DESCRIPTOR, wrappers_pb2.DESCRIPTOR])


def to_tensor(values: Sequence, dtype: str) -> Message:
    """Return values as a tensor.

    Args:
        values: nested lists that are not ragged; strings are encoded as UTF-8.
        dtype: TensorFlow's name, such as `DT_STRING`.

    Raises:
        ValueError: the lists are ragged, or a value does not have this dtype.
    """
    if dtype not in _FIELDS:
        raise ValueError(f"values of {dtype} cannot be sent; expected one of {', '.join(_FIELDS)}")
    shape, flat = _flattened(values)
    tensor = api_messages()["TensorProto"](dtype=_DATA_TYPES[dtype])
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    # A lone surrogate, which a JSON escape can produce, cannot be encoded in UTF-8.
    encoded = [value.encode("utf-8", "replace") if isinstance(value, str) else value for value in flat]
    try:
        getattr(tensor, _FIELDS[dtype][0]).extend(encoded)
    except (TypeError, ValueError) as error:
        raise ValueError(f"not all are values of {dtype} ({error})") from None
    return tensor


def from_tensor(tensor: Message) -> tuple[tuple[int, ...], list]:
    """Return the shape of a tensor and its values as nested lists; the value of a scalar as a list of one.

    Bytes are decoded as UTF-8. A float is the shortest that gives the same float32, as in the server's JSON.

    Raises:
        ValueError: no export has outputs of this dtype, or the number of values does not fit the shape.
    """
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    dtype = next((name for name, number in _DATA_TYPES.items() if number == tensor.dtype), str(tensor.dtype))
    if dtype not in _FIELDS:
        raise ValueError(f"values of {dtype} cannot be read; expected one of {', '.join(_FIELDS)}")
    field, code = _FIELDS[dtype]
    count = math.prod(shape)
    values = _unpacked(tensor.tensor_content, code, count) if tensor.tensor_content else list(getattr(tensor, field))
    # TensorFlow may omit trailing values that repeat the last one.
    values += values[-1:] * (count - len(values))
    if len(values) != count:
        raise ValueError(f"{len(values)} values for the shape {shape}")
    if dtype == "DT_STRING":
        values = [value.decode("utf-8", "replace") for value in values]
    elif dtype == "DT_FLOAT":
        values = [_shortest(value) for value in values]
    return shape, _nested(values, shape)


def _flattened(value: Any) -> tuple[tuple[int, ...], list]:
    """Return the shape of nested lists and their values in order."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return (), [value]
    flattened = [_flattened(item) for item in value]
    shapes = sorted({shape for shape, _ in flattened})
    if len(shapes) > 1:
        raise ValueError(f"values have different shapes, {shapes[0]} and {shapes[1]}")
    flat = list(itertools.chain.from_iterable(values for _, values in flattened))
    return (len(flattened), *(shapes[0] if shapes else ())), flat


def _nested(values: list, shape: Sequence[int]) -> list:
    """Return flat values as nested lists of a shape; those of a scalar unchanged."""
    if len(shape) < 2:
        return values
    size = math.prod(shape[1:])
    return [_nested(values[size * row : size * (row + 1)], shape[1:]) for row in range(shape[0])]


def _unpacked(content: bytes, code: str | None, count: int) -> list:
    """Return the values in `tensor_content`, little-endian like all machines that TensorFlow Serving supports.

    Source: TensorFlow 2.20.0, `framework/tensor.cc`; for strings, `platform/tensor_coding.cc`, `EncodeStringList`.
    """
    if code is not None:
        if len(content) != count * struct.calcsize(f"<{code}"):
            raise ValueError(f"{len(content)} bytes for {count} values")
        return list(struct.unpack(f"<{count}{code}", content))
    # The lengths of all strings come first.
    stream = iter(content)
    sizes = [_varint(stream) for _ in range(count)]
    rest = bytes(stream)
    ends = [0, *itertools.accumulate(sizes)]
    return [rest[start:end] for start, end in itertools.pairwise(ends)]


def _varint(stream) -> int:
    number = 0
    for shift, byte in zip(itertools.count(0, 7), stream, strict=False):
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number
    raise ValueError("the lengths of the strings are truncated")


def _shortest(value: float) -> float:
    """Return the number with the fewest digits that rounds to the same float32."""
    packed = struct.pack("<f", value)
    candidates = (float(f"{value:.{digits}g}") for digits in range(6, 9))
    return next((number for number in candidates if struct.pack("<f", number) == packed), float(f"{value:.9g}"))
