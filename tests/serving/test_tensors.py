"""Tensors of the gRPC client: compatible in both directions with the official messages of TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2, predict_pb2

from tfbert.serving.tensors import api_messages, from_tensor, to_tensor

OFFICIAL = {
    "Dim": tensor_shape_pb2.TensorShapeProto.Dim,
    "TensorShapeProto": tensor_shape_pb2.TensorShapeProto,
    "TensorProto": tensor_pb2.TensorProto,
    "TensorInfo": meta_graph_pb2.TensorInfo,
    "SignatureDef": meta_graph_pb2.SignatureDef,
    "ModelSpec": model_pb2.ModelSpec,
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "SignatureDefMap": get_model_metadata_pb2.SignatureDefMap,
    "GetModelMetadataRequest": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelMetadataResponse": get_model_metadata_pb2.GetModelMetadataResponse,
}
# The field of each dtype and some values, including extreme ones and long texts.
VALUES = {
    "DT_FLOAT": ("float_val", [[0.1, -2.5, 3.4028234663852886e38], [1e-30, 0.0, 16777216.0]]),
    "DT_INT32": ("int_val", [[-(2**31), 0, 2**31 - 1], [1, -1, 300]]),
    "DT_INT64": ("int64_val", [[-(2**63), 0, 2**63 - 1], [1, -1, 2**40]]),
    "DT_BOOL": ("bool_val", [[True, False, False], [True, True, False]]),
    "DT_STRING": ("string_val", [["", "a", "😀 价格"], ["b\0c", "x" * 300, " "]]),
}


def field_kind(field):
    """Return the number and type of a field and whether it is repeated; for a map, those of its values."""
    if field.message_type and field.message_type.GetOptions().map_entry:
        return field.number, "map", *field_kind(field.message_type.fields_by_name["value"])
    return field.number, field.type, field.is_repeated, field.message_type and field.message_type.name


def test_fields_equal_the_official_ones():
    classes = api_messages()
    assert classes.keys() == OFFICIAL.keys()
    for name, message in classes.items():
        official = OFFICIAL[name].DESCRIPTOR.fields_by_name
        for field in message.DESCRIPTOR.fields:
            assert field_kind(field) == field_kind(official[field.name]), f"{name}.{field.name}"
    dtypes = classes["TensorProto"].DESCRIPTOR.fields_by_name["dtype"].enum_type.values
    assert {value.name: value.number for value in dtypes}.items() <= dict(types_pb2.DataType.items()).items()


def official_tensor(dtype, values):
    return tf.make_tensor_proto(values, getattr(types_pb2, dtype))


@pytest.mark.parametrize("dtype", VALUES)
def test_tensorflow_reads_the_tensors(dtype):
    _, values = VALUES[dtype]
    message = tensor_pb2.TensorProto.FromString(to_tensor(values, dtype).SerializeToString())
    expected = tf.make_ndarray(official_tensor(dtype, values))
    array = tf.make_ndarray(message)
    assert array.dtype == expected.dtype and array.tolist() == expected.tolist()


@pytest.mark.parametrize("dtype", VALUES)
def test_value_fields_are_read(dtype):
    field, values = VALUES[dtype]
    official = tensor_pb2.TensorProto(dtype=getattr(types_pb2, dtype))
    for size in (2, 3):
        official.tensor_shape.dim.add(size=size)
    flat = [value.encode() if isinstance(value, str) else value for row in values for value in row]
    getattr(official, field).extend(flat)
    assert tf.make_ndarray(official).tolist() == tf.make_ndarray(official_tensor(dtype, values)).tolist()
    shape, nested = from_tensor(api_messages()["TensorProto"].FromString(official.SerializeToString()))
    assert shape == (2, 3)
    if dtype == "DT_FLOAT":
        assert np.array_equal(np.array(nested, np.float32), np.array(values, np.float32))
    else:
        assert nested == values and {type(value) for row in nested for value in row} == {type(values[0][0])}


def in_content(dtype, values):
    """Return an official tensor with its values in `tensor_content`, which TensorFlow can read."""
    tensor = tf.constant(values, getattr(types_pb2, dtype))
    official = tensor_pb2.TensorProto.FromString(tf.io.serialize_tensor(tensor).numpy())
    if dtype == "DT_STRING":
        texts = tensor.numpy().ravel().tolist()
        sizes = b"".join(
            bytes([size]) if size < 128 else bytes([size % 128 | 128, size // 128]) for size in map(len, texts)
        )
        del official.string_val[:]
        official.tensor_content = sizes + b"".join(texts)
    assert official.tensor_content
    np.testing.assert_array_equal(tf.io.parse_tensor(official.SerializeToString(), tensor.dtype), tensor)
    return official


@pytest.mark.parametrize("dtype", VALUES)
def test_tensor_content_is_read(dtype):
    official = in_content(dtype, VALUES[dtype][1])
    message = api_messages()["TensorProto"].FromString(official.SerializeToString())
    by_content = from_tensor(message)
    assert by_content == from_tensor(to_tensor(VALUES[dtype][1], dtype))
    message.tensor_content = message.tensor_content[:3]
    with pytest.raises(ValueError, match="bytes for 6 values|the lengths of the strings are truncated"):
        from_tensor(message)


def test_shapes():
    assert from_tensor(to_tensor(["a", "b"], "DT_STRING")) == ((2,), ["a", "b"])
    assert from_tensor(to_tensor([], "DT_INT32")) == ((0,), [])
    assert from_tensor(to_tensor([[], []], "DT_INT32")) == ((2, 0), [[], []])
    deep = [[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 10], [11, 12]]]
    assert from_tensor(to_tensor(deep, "DT_INT64")) == ((2, 3, 2), deep)
    assert from_tensor(to_tensor(("a", b"\xff"), "DT_STRING")) == ((2,), ["a", "\ufffd"])
    repeated = to_tensor([4, 5], "DT_INT32")
    repeated.tensor_shape.dim[0].size = 4
    official = tensor_pb2.TensorProto.FromString(repeated.SerializeToString())
    assert from_tensor(repeated) == ((4,), [4, 5, 5, 5]) == ((4,), tf.make_ndarray(official).tolist())
    repeated.tensor_shape.dim[0].size = 1
    with pytest.raises(ValueError, match=r"2 values for the shape \(1,\)"):
        from_tensor(repeated)


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        ([["a"], ["b", "c"]], "DT_STRING", r"values have different shapes, \(1,\) and \(2,\)"),
        (["a", ["b"]], "DT_STRING", r"values have different shapes, \(\) and \(1,\)"),
        ([1], "DT_STRING", "not all are values of DT_STRING"),
        (["a"], "DT_INT32", "not all are values of DT_INT32"),
        ([2**31], "DT_INT32", "not all are values of DT_INT32"),
        ([1], "DT_HALF", "values of DT_HALF cannot be sent; expected one of DT_FLOAT"),
        ([1], 11, "values of 11 cannot be sent"),
    ],
)
def test_invalid_values(values, dtype, message):
    with pytest.raises(ValueError, match=message):
        to_tensor(values, dtype)


@pytest.mark.parametrize("dtype", ["DT_HALF", "DT_QINT8"])
def test_unsupported_dtypes(dtype):
    official = tensor_pb2.TensorProto(dtype=getattr(types_pb2, dtype))
    name = dtype if dtype == "DT_HALF" else "11"
    with pytest.raises(ValueError, match=f"values of {name} cannot be read"):
        from_tensor(api_messages()["TensorProto"].FromString(official.SerializeToString()))


def test_requests_and_responses_are_the_same_bytes():
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "bank", "serving_default"
    request.model_spec.version.value = 7
    response = predict_pb2.PredictResponse(model_spec=request.model_spec)
    for dtype, (_, values) in VALUES.items():
        request.inputs[dtype].CopyFrom(official_tensor(dtype, values))
        response.outputs[dtype].CopyFrom(in_content(dtype, values))
    signatures = get_model_metadata_pb2.SignatureDefMap()
    signature = signatures.signature_def["serving_default"]
    signature.method_name = "tensorflow/serving/predict"
    signature.inputs["text"].name, signature.inputs["text"].dtype = "text:0", types_pb2.DT_STRING
    signature.inputs["text"].tensor_shape.dim.add(size=-1)
    metadata = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=request.model_spec)
    metadata.metadata["signature_def"].Pack(signatures)
    for official in (request, response, signatures, metadata):
        sent = official.SerializeToString(deterministic=True)
        message = api_messages()[official.DESCRIPTOR.name].FromString(sent)
        assert message.SerializeToString(deterministic=True) == sent
        assert type(official).FromString(message.SerializeToString()) == official


def test_floats_have_the_fewest_digits_possible():
    rng = np.random.default_rng(0)
    numbers = np.concatenate([rng.random(3000), rng.normal(size=3000) * 10.0 ** rng.integers(-30, 30, 3000)])
    numbers = numbers.astype(np.float32)
    floats = from_tensor(to_tensor(numbers.tolist(), "DT_FLOAT"))[1]
    assert floats == [float(str(number)) for number in numbers]
    odd = [float("inf"), float("-inf"), float("nan"), 2.0**-149, 3.4028234663852886e38, -0.0]
    decoded = from_tensor(to_tensor(odd, "DT_FLOAT"))[1]
    np.testing.assert_array_equal(np.array(decoded, np.float32), np.array(odd, np.float32))
