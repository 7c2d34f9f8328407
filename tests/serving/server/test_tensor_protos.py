"""Tensor protos of clients: which are read, and which are rejected before memory is allocated."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from tfbert.serving.server import tensor_protos
from tfbert.serving.server.status import Code, ServingError
from tfbert.serving.server.tensor_protos import to_array, type_name


def proto(dtype, shape, **values):
    found = tensor_pb2.TensorProto(dtype=getattr(types_pb2, f"DT_{dtype}"), **values)
    for size in shape:
        found.tensor_shape.dim.add(size=size)
    return found


@pytest.mark.parametrize(
    "array",
    [
        np.array([b"one", b"", b"\xff"], object),
        np.array([["a", "b"]], object),
        np.array(5, np.int64),
        np.arange(6, dtype=np.int32).reshape(2, 3),
        np.array([1.5, -2.5], np.float32),
        np.array([1.5], np.float64),
        np.array([True, False]),
        np.array([1 + 2j], np.complex64),
        np.array([1.5, 2.5], np.float16),
        np.array([3, 4], np.uint8),
        np.array([2**63], np.uint64),
        np.zeros([0, 5], np.int32),
    ],
)
def test_what_clients_send_is_read(array):
    found = to_array("x", tf.make_tensor_proto(array))
    assert found.shape == array.shape
    assert found.dtype == array.dtype
    expected = array.astype("S").tolist() if array.dtype == object else array.tolist()
    assert found.tolist() == expected


def test_values_that_repeat_the_last_one_may_be_left_out():
    assert to_array("x", proto("INT32", [2, 3], int_val=[4, 7])).tolist() == [[4, 7, 7], [7, 7, 7]]
    assert to_array("x", proto("FLOAT", [2])).tolist() == [0.0, 0.0]
    assert to_array("x", proto("STRING", [3], string_val=[b"a"])).tolist() == [b"a"] * 3
    filled = to_array("x", proto("INT32", [tensor_protos.MOST_FILLED_NUMBERS], int_val=[1]))
    assert filled.sum() == tensor_protos.MOST_FILLED_NUMBERS


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (proto("STRING", [400_000_000]), "has 0 values for the shape [400000000]; all values of a tensor of more than"),
        (proto("STRING", [2**62, 2**62], string_val=[b"a"]), "has 1 values for the shape"),
        (proto("STRING", [1025], string_val=[b"a"]), "of more than 64 elements or 65,536 bytes must be sent"),
        (proto("STRING", [1000], string_val=[b"a" * 2000]), "of more than 64 elements or 65,536 bytes must be"),
        (proto("INT32", [2**18 + 1], int_val=[1]), "of more than 4,096 elements must be sent"),
        (proto("INT32", [0, 2**40]), "has 0 values for the shape [0, 1099511627776]"),
        (proto("INT32", [-1], int_val=[1]), "has the shape [-1]; expected sizes of 0 or more"),
        (proto("INT32", [1], int_val=[1, 2]), "has 2 values for the shape [1], which takes 1"),
        (proto("INT32", [2], tensor_content=b"123"), "has 3 bytes of tensor_content for the shape [2], which takes 8"),
        (proto("INT32", [2**60], tensor_content=b"123"), "has 3 bytes of tensor_content"),
        (proto("STRING", [1], tensor_content=b"\x01a"), "has strings in tensor_content; expected them in string_val"),
        (proto("INT32", [1] * 65, int_val=[1]), "has 65 dimensions; expected at most 64"),
        (proto("RESOURCE", [1]), "has the type resource, which cannot be sent"),
        (proto("INVALID", [1]), "has the type invalid, which cannot be sent"),
    ],
)
def test_what_describes_no_tensor_is_refused(made, message, monkeypatch):
    # Refused by its description alone.
    monkeypatch.setattr(tensor_protos.tf, "make_ndarray", lambda _: pytest.fail("a tensor was made"))
    with pytest.raises(ServingError) as caught:
        to_array("text", made)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.message.startswith("Tensor text ") and message in caught.value.message


def test_a_shape_of_unknown_rank_is_refused():
    made = proto("FLOAT", [])
    made.tensor_shape.unknown_rank = True
    with pytest.raises(ServingError, match="has a shape of unknown rank"):
        to_array("x", made)


def test_types_have_the_names_of_cpp():
    assert [type_name(number) for number in (1, 7, 9, 99_999)] == [
        "float",
        "string",
        "int64",
        "unknown dtype enum (99999)",
    ]
