"""What is asked about: items, each a text or several by input name, in; string tensors with the item first out."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

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


def from_json(item: Mapping) -> dict[str, Input]:
    """Return an item as JSON has it, with tuples for its lists."""
    return {name: value if isinstance(value, str) else tuple(value) for name, value in item.items()}


def _bytes(text: str) -> bytes:
    # Half a surrogate pair, which a JSON escape can make, has no UTF-8.
    return text.encode("utf-8", "replace")
