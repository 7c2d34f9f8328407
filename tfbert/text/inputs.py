"""Model inputs: declarations of texts, numbers and categories, and conversion of items to tensors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import tensorflow as tf

# UTF-8 bytes per token in English and Chinese alike: accurate enough to sort texts by length and to size batches.
_BYTES_PER_TOKEN = 3.5
Value = str | float
# The inputs of one record by name. The value of an input with several values, such as choices, is a tuple.
Item = Mapping[str, Value | tuple[Value, ...]]


@dataclass(frozen=True)
class Input:
    """Declaration of one input of a task.

    Args:
        name: the key in a request.
        many: whether a record has several values, such as the choices of a question.
        required: whether every record must have a value.
    """

    name: str
    many: bool = False
    required: bool = True

    @property
    def kind(self) -> str:
        """A noun for the values in the model card: `text`, `category` or `number`, in the plural if there are many."""
        return self._plural if self.many else self._singular

    @property
    def spec(self) -> tf.TensorSpec:
        """The spec of the served tensor: `(batch,)`, or `(batch, values)` if a record has several values."""
        return tf.TensorSpec([None] * (2 if self.many else 1), self._dtype, name=self.name)

    _dtype: ClassVar[tf.DType] = tf.string
    _singular: ClassVar[str]
    _plural: ClassVar[str]


class Text(Input):
    """A text, which is tokenized in the graph."""

    _singular, _plural = "text", "texts"


class Category(Input):
    """A categorical value, such as a brand; training determines the set of categories."""

    _singular, _plural = "category", "categories"


class Number(Input):
    """A number, such as a price."""

    _dtype = tf.float32
    _singular, _plural = "number", "numbers"


def batch_of(items: Sequence[Item], specs: Mapping[str, tf.TensorSpec]) -> dict[str, tf.Tensor]:
    """Return a batch of items as tensors by input name.

    Inputs with several values are padded with "" or NaN to the largest number of values in the batch.

    Args:
        items: one or more items.
        specs: input name to tensor spec, from `Input.spec` or a signature; other inputs of the items are ignored.
    """
    tensors = {}
    for name, spec in specs.items():
        values, is_text = [item[name] for item in items], spec.dtype == tf.string
        if spec.shape.rank > 1:
            width, padding = max(map(len, values)), "" if is_text else float("nan")
            values = [[*value, *[padding] * (width - len(value))] for value in values]
        tensors[name] = _strings(values) if is_text else tf.constant(values, spec.dtype)
    return tensors


def rough_lengths(items: Sequence[Item]) -> np.ndarray:
    """Return the approximate number of tokens of each item, float64 `(items,)`, for grouping by similar length."""
    lengths = []
    for item in items:
        tuples = [value if isinstance(value, tuple) else (value,) for value in item.values()]
        num_bytes = sum(len(_encode(value)) for values in tuples for value in values if isinstance(value, str))
        lengths.append(num_bytes / _BYTES_PER_TOKEN + 3)
    return np.asarray(lengths)


def specs_of(inputs: Iterable[Input]) -> dict[str, tf.TensorSpec]:
    """Return the specs of the served tensors by input name."""
    return {declared.name: declared.spec for declared in inputs}


def from_json(item: Mapping) -> Item:
    """Return an item from its JSON form, whose lists become tuples."""
    return {name: tuple(value) if isinstance(value, list | tuple) else value for name, value in item.items()}


def _strings(values: Sequence) -> tf.Tensor:
    encoded = [_encode(value) if isinstance(value, str) else list(map(_encode, value)) for value in values]
    return tf.constant(encoded, tf.string)


def _encode(text: str) -> bytes:
    # A lone surrogate, which a JSON escape can produce, cannot be encoded.
    return text.encode("utf-8", "replace")
