"""Conversion between the bodies of TensorFlow Serving's REST API and tensors.

Tensors are NumPy arrays, strings among them arrays of `bytes` objects; TensorFlow is not needed. The messages of errors
are those of the real server, word for word.
"""

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfbert.serving.server.json_body import float_texts, invalid, parse_object, shown, type_name
from tfbert.serving.server.json_values import FLOAT, STRING, converted, flat, is_base64, to_array
from tfbert.serving.server.status import ServingError

_KINDS = {"int64": np.int64, "float": np.float32, "bytes": object}
_INT64_MAX = 2**63 - 1
_BYTES_SUFFIX = "_bytes"


@dataclass(frozen=True)
class PredictBody:
    """What a body asks of `Predict`.

    Args:
        signature_name: its key, "" for the default.
        inputs: by name, with the dtypes of the signature.
        is_row: whether the answer is by instance; else it is by output.
    """

    signature_name: str
    inputs: dict[str, np.ndarray]
    is_row: bool


@dataclass(frozen=True)
class ExamplesBody:
    """What a body asks of `Classify` or `Regress`.

    Args:
        signature_name: its key, "" for the default.
        examples: the features of each by name, those of the context among them: int64, float32 or `bytes` objects
            `(values,)`. A feature without values, which has no kind, is an empty array of objects.
    """

    signature_name: str
    examples: list[dict[str, np.ndarray]]


def predict_request(body: bytes, signature: Callable[[str], Mapping[str, int]]) -> PredictBody:
    """Parse the body of `:predict`: `instances` in rows, or `inputs` in columns.

    Args:
        body: UTF-8.
        signature: takes a signature's name, "" for the default, and returns the inputs' names with the numbers of their
            DataTypes; it raises a `ServingError` if there is none.

    Raises:
        ServingError: the body is not such a request, or does not fit the signature.

    Source: TensorFlow Serving 2.20.0, `util/json_tensor.cc`, `FillPredictRequestFromJson`. Ours differs in that an
        integer that does not fit into an int8, int16 or uint8 is an error and is not wrapped, and that base64 objects
        as instances are refused where a signature has several inputs.
    """
    request = parse_object(body)
    name = _signature_name(request)
    inputs = signature(name)
    if not inputs:
        raise invalid(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    if "instances" not in request:
        if "inputs" not in request:
            raise invalid("Missing 'inputs' or 'instances' key")
        return PredictBody(name, _from_columns(request["inputs"], inputs), is_row=False)
    if "inputs" in request:
        wish = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        raise invalid(f"JSON Value: {shown(request)} {wish}")
    if not isinstance(request["instances"], list):
        raise invalid(f"JSON Value: {shown(request)} Expecting 'instances' to be an list/array")
    if not request["instances"]:
        raise invalid(f"JSON Value: {shown(request)} No values in 'instances' array")
    return PredictBody(name, _from_rows(request["instances"], inputs), is_row=True)


def examples_request(body: bytes) -> ExamplesBody:
    """Parse the body of `:classify` or `:regress`: `examples`, and a `context` that holds for all of them.

    Integers and booleans are int64, numbers with a fraction or an exponent float32, strings bytes: 2 and 2.0 differ.

    Args:
        body: UTF-8.

    Raises:
        ServingError: the body is not such a request.

    Source: TensorFlow Serving 2.20.0, `util/json_tensor.cc`, `FillClassifyRegressRequestFromJson`.
    """
    request = parse_object(body)
    name = _signature_name(request)
    context = _features(request["context"]) if "context" in request else {}
    if "examples" not in request:
        wish = "When method is classify, key 'examples' is expected and was not found"
        raise invalid(f"JSON Value: {shown(request)} {wish}")
    if not isinstance(request["examples"], list):
        raise invalid(f"JSON Value: {shown(request)} Expecting 'examples' value to be an list/array")
    if not request["examples"]:
        raise invalid(f"JSON Value: {shown(request)} 'examples' value is an empty array")
    return ExamplesBody(name, [{**context, **_features(example)} for example in request["examples"]])


def predict_response(outputs: Mapping[str, np.ndarray], is_row: bool) -> bytes:
    """Return the response body of `:predict`: `predictions` in rows, or `outputs` in columns.

    The values of a single output stand bare, those of several in objects. Strings of outputs whose name ends in
    `_bytes` are in base64; in all others, bytes that are not UTF-8 become U+FFFD.

    Args:
        outputs: by name.
        is_row: whether to answer by instance.

    Raises:
        ServingError: JSON cannot give an output's dtype, or in rows, not all outputs have one first dimension.

    Source: TensorFlow Serving 2.20.0, `util/json_tensor.cc`, `MakeJsonFromTensors`. Ours differs in whitespace, and in
        that a number has no more digits than it takes to read it again.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    if not is_row:
        texts = {name: _nested(name, array, 0)[0] for name, array in outputs.items()}
        answer = next(iter(texts.values())) if len(texts) == 1 else _object(texts, 4)
        return _object({"outputs": answer}).encode()
    batch_size = None
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if batch_size not in (None, len(array)):
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {batch_size}")
        batch_size = len(array)
    columns = [_nested(name, array, 1) for name, array in outputs.items()]
    rows = columns[0]
    if len(columns) > 1:
        rows = [_object(dict(zip(outputs, row, strict=True)), 8) for row in zip(*columns, strict=True)]
    return _object({"predictions": f"[{', '.join(rows)}\n    ]"}).encode()


def classify_response(classes: Sequence[Sequence[tuple[str | bytes, float]]]) -> bytes:
    """Return the response body of `:classify`.

    Args:
        classes: label and score of the classes of each example; scores become float32.

    Raises:
        ServingError: there are no examples.
    """
    if not classes:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    rows = []
    for example in classes:
        scores = float_texts(np.array([score for _, score in example], np.float32))
        pairs = (f"[{_string(label)}, {score}]" for (label, _), score in zip(example, scores, strict=True))
        rows.append(f"[{', '.join(pairs)}]")
    return _object({"results": f"[{', '.join(rows)}\n    ]"}).encode()


def regress_response(values: Sequence[float]) -> bytes:
    """Return the response body of `:regress`.

    Args:
        values: of each example; they become float32.

    Raises:
        ServingError: there are none.
    """
    if not len(values):
        raise invalid("Cannot convert empty RegressionResults to JSON")
    return _object({"results": f"[{', '.join(float_texts(np.array(values, np.float32)))}]"}).encode()


def error_body(message: str) -> bytes:
    """Return the response body of an error."""
    return _object({"error": _string(message)}).encode(errors="replace")


def _signature_name(request: dict) -> str:
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        wish = "not formatted correctly. 'signature_name' key must be a string value."
        raise invalid(f"JSON Value: {shown(request)} {wish}")
    return name


def _from_rows(instances: list, inputs: Mapping[str, int]) -> dict[str, np.ndarray]:
    is_named = _is_named(instances[0])
    if len(inputs) > 1 and not is_named:
        wish = "expecting list of objects as multiple input tensors required as per tensorinfo_map"
        raise invalid(f"instances is a plain list, but {wish}")
    only = next(iter(inputs))
    shapes: dict[str, tuple[int, ...]] = {}
    values: dict[str, list] = {name: [] for name in inputs}
    for index, instance in enumerate(instances):
        if _is_named(instance) != is_named:
            what = "object but got list" if is_named else "value/list but got object"
            raise invalid(f"Expecting {what} at item {index} of input list")
        for name, value in instance.items() if is_named else [(only, instance)]:
            try:
                if name not in inputs:
                    raise invalid(f"JSON object: does not have named input: {name}")
                shape, found = flat(value, inputs[name])
                _check_alike(shapes.setdefault(name, shape), shape)
            except ServingError as error:
                place = f"{index} key: {name}" if is_named else str(index)
                raise invalid(f"Failed to process element: {place} of 'instances' list. Error: {error}") from None
            values[name] += found
        if is_named and instance.keys() != inputs.keys():
            what = f"JSON object: {shown(instance)} keys must be equal to: {','.join(sorted(inputs))}"
            raise invalid(f"Failed to process element: {index} of 'instances' list. {what}")
    return {name: to_array(values[name], (len(instances), *shapes[name]), dtype) for name, dtype in inputs.items()}


def _from_columns(value: Any, inputs: Mapping[str, int]) -> dict[str, np.ndarray]:
    if not _is_named(value):
        if len(inputs) > 1:
            wish = "expecting an object as multiple input tensors required as per tensorinfo_map"
            raise invalid(f"inputs is a plain value/list, but {wish}")
        value = dict.fromkeys(inputs, value)
    arrays = {}
    for name, dtype in inputs.items():
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        shape, found = flat(value[name], dtype)
        arrays[name] = to_array(found, shape, dtype)
    return arrays


def _check_alike(first: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Check that an instance has the shape of the first one."""
    if math.prod(first) != math.prod(shape):
        raise invalid(f"Expecting tensor size: {math.prod(first)} but got: {math.prod(shape)}")
    if first != shape:
        texts = [f"[{','.join(map(str, sizes))}]" for sizes in (first, shape)]
        raise invalid(f"Expecting shape {texts[0]} but got: {texts[1]}")


def _is_named(value: Any) -> bool:
    """Return whether a value is an object of named inputs."""
    return isinstance(value, dict) and not is_base64(value)


def _features(example: Any) -> dict[str, np.ndarray]:
    if not isinstance(example, dict):
        raise invalid(f"Example must be JSON object but got JSON {type_name(example)}")
    return {name: _feature(name, content) for name, content in example.items()}


def _feature(name: str, content: Any) -> np.ndarray:
    expected, found = "", []
    for value in content if isinstance(content, list) else [content]:
        kind = _kind_of(value)
        if not kind:
            raise invalid(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")
        expected = expected or kind
        if kind != expected:
            raise invalid(f"Unexpected element type in feature: {name} expecting type: {expected}")
        if kind == "int64" and value > _INT64_MAX:
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
        if kind == "int64":
            found.append(int(value))
        else:
            found.append(converted(value, FLOAT if kind == "float" else STRING))
    return np.array(found, _KINDS[expected or "bytes"])


def _kind_of(value: Any) -> str:
    """Return the kind of feature that a JSON value is of, or nothing if it is of none."""
    if isinstance(value, str) or is_base64(value):
        return "bytes"
    return {bool: "int64", int: "int64", float: "float"}.get(type(value), "")


def _nested(name: str, array: np.ndarray, first_axis: int) -> list[str]:
    """Return the JSON of each element of an array along the axes before one, or of all of it."""
    texts = _texts(name, array)
    for axis in reversed(range(first_axis, array.ndim)):
        size = array.shape[axis]
        starts = (index * size for index in range(math.prod(array.shape[:axis])))
        texts = [f"[{', '.join(texts[start : start + size])}]" for start in starts]
    return texts


def _texts(name: str, array: np.ndarray) -> list[str]:
    """Return the JSON of each value of an output, in order."""
    values = array.ravel()
    if array.dtype.kind in "OSU":
        to_text = _bytes_object if name.endswith(_BYTES_SUFFIX) else _string
        return list(map(to_text, values.tolist()))
    if array.dtype in (np.float32, np.float64):
        return float_texts(values)
    if array.dtype.kind in "iu":
        return list(map(str, values.tolist()))
    if array.dtype == np.bool_:
        return ["true" if value else "false" for value in values.tolist()]
    dtype = "half" if array.dtype == np.float16 else array.dtype.name
    raise invalid(f"Failed to write JSON value for tensor type: {dtype}")


def _string(value: str | bytes) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return json.dumps(text, ensure_ascii=False)


def _bytes_object(value: str | bytes) -> str:
    data = value.encode() if isinstance(value, str) else value
    return f'{{"b64": "{base64.b64encode(data).decode()}"}}'


def _object(members: Mapping[str, str], indent: int = 0) -> str:
    """Return an object of values that are JSON already, with one line per value."""
    start, end = "\n" + " " * (indent + 4), "\n" + " " * indent
    return "{" + ",".join(f"{start}{_string(name)}: {text}" for name, text in members.items()) + end + "}"
