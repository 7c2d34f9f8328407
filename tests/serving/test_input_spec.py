"""Input specifications: from a server's metadata, and which of them are numbers."""

import pytest

from tfbert.serving.input_spec import InputSpec


@pytest.mark.parametrize(
    ("dtype", "rank", "expected"),
    [
        ("DT_STRING", 1, InputSpec("string")),
        ("DT_FLOAT", 1, InputSpec("float32")),
        ("DT_DOUBLE", 2, InputSpec("float64", many=True)),
        ("DT_INT32", 2, InputSpec("int32", many=True)),
    ],
)
def test_the_metadata_of_a_server_gives_dtype_and_rank(dtype, rank, expected):
    assert InputSpec.from_metadata({"dtype": dtype, "tensor_shape": {"dim": [{"size": "-1"}] * rank}}) == expected


@pytest.mark.parametrize(
    ("dtype", "is_number"), [("float32", True), ("float64", True), ("string", False), ("int32", False), ("bool", False)]
)
def test_floating_point_inputs_are_numbers(dtype, is_number):
    assert InputSpec(dtype).is_number is is_number
