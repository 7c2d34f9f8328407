"""A task's own arrays, such as an index of texts and vectors, to a file in the run directory and back."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfbert.training import checkpoint

_FILE = "arrays.safetensors"
# The file format has numbers only: a string array is its bytes end to end, and where each string ends.
_BYTES, _ENDS = "/bytes", "/ends"


def save(run_dir: Path, arrays: Mapping[str, tf.Variable]) -> None:
    """Write arrays, if there are any; string arrays have one dimension."""
    stored = {}
    for name, variable in arrays.items():
        value = variable.numpy()
        if variable.dtype == tf.string:
            stored[name + _BYTES] = np.frombuffer(b"".join(value), np.uint8)
            stored[name + _ENDS] = np.cumsum([len(text) for text in value], dtype=np.int64)
        else:
            stored[name] = value
    if stored:
        checkpoint.save(run_dir / _FILE, stored, {})


def load(run_dir: Path, arrays: Mapping[str, tf.Variable]) -> None:
    """Give arrays the values that `save` wrote, if there are any.

    Raises:
        ValueError: the file is missing or damaged.
    """
    if not arrays:
        return
    stored, _ = checkpoint.load(run_dir / _FILE, checkpoint.TRAIN_AGAIN)
    for name, variable in arrays.items():
        if variable.dtype == tf.string:
            whole, ends = stored[name + _BYTES].tobytes(), stored[name + _ENDS]
            starts = np.concatenate([[0], ends])[:-1]
            variable.assign([whole[start:end] for start, end in zip(starts, ends, strict=True)])
        else:
            variable.assign(stored[name])
