"""Input specification of a served model: the dtype and rank of each input of a signature, without TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Names that TensorFlow gives its floating-point types in metadata and in Python.
_FLOATS = {"DT_HALF": "float16", "DT_BFLOAT16": "bfloat16", "DT_FLOAT": "float32", "DT_DOUBLE": "float64"}


@dataclass(frozen=True)
class InputSpec:
    """One input of a signature.

    Args:
        dtype: TensorFlow's name, such as `string` or `float32`.
        many: whether an item has several values for this input (rank 2), instead of one (rank 1).
    """

    dtype: str = "string"
    many: bool = False

    @property
    def is_number(self) -> bool:
        """Whether the values are floating-point numbers."""
        return self.dtype in _FLOATS.values()

    @classmethod
    def of(cls, spec: Any) -> "InputSpec":
        """Return the specification of a `tf.TensorSpec`."""
        return cls(spec.dtype.name, spec.shape.rank > 1)

    @classmethod
    def from_metadata(cls, info: Mapping[str, Any]) -> "InputSpec":
        """Return the specification that a server's metadata gives for an input.

        Args:
            info: the `TensorInfo` message as JSON.
        """
        dtype = info.get("dtype", "DT_STRING")
        return cls(_FLOATS.get(dtype, dtype.removeprefix("DT_").lower()), len(info["tensor_shape"]["dim"]) > 1)
