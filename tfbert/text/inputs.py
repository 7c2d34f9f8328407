"""The inputs of a model: what a task declares, and items of text, numbers and categories as tensors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

# Bytes of UTF-8 per token: exact enough to sort by and to size a batch, in English as in Chinese.
_BYTES_PER_TOKEN = 3.5
Value = str | float
# The inputs of one record by name; a tuple where an input takes several values, such as choices.
Item = Mapping[str, Value | tuple[Value, ...]]


@dataclass(frozen=True)
class Input:
    """One input of a task.

    Args:
        name: the key in a request.
        many: whether it takes several values for each record, such as the choices of a question.
        required: whether every record has it.
    """

    name: str
    many: bool = False
    required: bool = True

    @property
    def kind(self) -> str:
        """What a value is, for a reader: `text`, `number` or `category`."""
        return type(self).__name__.lower() + ("s" if self.many else "")

    @property
    def spec(self) -> tf.TensorSpec:
        """The served tensor: `(batch,)`, or `(batch, values)` for an input of several values."""
        return tf.TensorSpec([None] * (2 if self.many else 1), self._dtype, name=self.name)

    _dtype = tf.string


class Text(Input):
    """A text, which is tokenized in the graph."""


class Category(Input):
    """A name out of a set that is known after training, such as a brand."""


class Number(Input):
    """A number, such as a price."""

    _dtype = tf.float32


def batch_of(items: Sequence[Item], specs: Mapping[str, tf.TensorSpec]) -> dict[str, tf.Tensor]:
    """Return items as tensors by input name.

    Where an item has fewer values of an input than another, "" or NaN fills up.

    Args:
        items: one or more.
        specs: the inputs to return by name, as `Input.spec` or a signature declares them.
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
    """Return about how many tokens each item has, float64 `(items,)`: enough to group items of similar length."""
    lengths = []
    for item in items:
        values = [each for value in item.values() for each in (value if isinstance(value, tuple) else (value,))]
        num_bytes = sum(len(_encode(each)) for each in values if isinstance(each, str))
        lengths.append(num_bytes / _BYTES_PER_TOKEN + 3)
    return np.asarray(lengths)


def specs_of(inputs: Iterable[Input]) -> dict[str, tf.TensorSpec]:
    """Return the served tensors of inputs by name."""
    return {each.name: each.spec for each in inputs}


def from_json(item: Mapping) -> Item:
    """Return an item as JSON holds it, with tuples in place of its lists."""
    return {name: tuple(value) if isinstance(value, list | tuple) else value for name, value in item.items()}


def _strings(values: Sequence) -> tf.Tensor:
    encoded = [_encode(value) if isinstance(value, str) else [_encode(each) for each in value] for value in values]
    return tf.constant(encoded, tf.string)


def _encode(text: str) -> bytes:
    # Half a surrogate pair, which a JSON escape can make, has no UTF-8.
    return text.encode("utf-8", "replace")
