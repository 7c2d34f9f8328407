"""What is asked about: items, each a text or several by input name, in; string tensors with the item first out."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

# Of UTF-8: enough to sort by and to size a batch, in English as in Chinese.
_BYTES_PER_TOKEN = 3.5
# One text, or several such as choices.
Input = str | tuple[str, ...]
Item = Mapping[str, Input]


def batch_of(items: Sequence[Item], names: Sequence[str]) -> dict[str, tf.Tensor]:
    """Return items as string tensors by input name; where an item has fewer texts than another, "" fills up.

    Args:
        items: at least one, all with the same names.
        names: of the inputs.
    """
    tensors = {}
    for name in names:
        values = [item[name] for item in items]
        if isinstance(values[0], str):
            encoded = [_bytes(value) for value in values]
        else:
            width = max(len(value) for value in values)
            encoded = [[*map(_bytes, value), *[b""] * (width - len(value))] for value in values]
        tensors[name] = tf.constant(encoded, tf.string)
    return tensors


def rough_lengths(items: Sequence[Item]) -> np.ndarray:
    """Return about how many tokens each item has, float64 `(items,)`: enough to put those of like length together."""
    texts = ((value if isinstance(value, str) else "".join(value) for value in item.values()) for item in items)
    return np.asarray([sum(len(_bytes(text)) for text in of) / _BYTES_PER_TOKEN + 3 for of in texts])


def from_json(item: Mapping) -> dict[str, Input]:
    """Return an item as JSON has it, with tuples for its lists."""
    return {name: value if isinstance(value, str) else tuple(value) for name, value in item.items()}


def _bytes(text: str) -> bytes:
    # Half a surrogate pair, which a JSON escape can make, has no UTF-8.
    return text.encode("utf-8", "replace")
