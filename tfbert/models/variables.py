"""Variables of a model other than its weights, such as an index or thresholds: created, saved and loaded."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfbert.models import weights

_FILE = "variables.safetensors"
# The file format has no strings: a string array is stored as its concatenated bytes and the end offset of each string.
_BYTES, _ENDS = "/bytes", "/ends"


def empty_variables(specs: Mapping[str, tf.TensorSpec]) -> dict[str, tf.Variable]:
    """Return variables of size 0 that can be assigned arrays of any size that the specs allow."""
    return {
        name: tf.Variable(
            tf.zeros([size or 0 for size in spec.shape], spec.dtype), trainable=False, shape=spec.shape, name=name
        )
        for name, spec in specs.items()
    }


def save(run_dir: Path, variables: Mapping[str, tf.Variable]) -> None:
    """Write variables to the run directory, or no file if there are none; string variables must be one-dimensional."""
    stored = {}
    for name, variable in variables.items():
        value = variable.numpy()
        if variable.dtype == tf.string:
            stored[name + _BYTES] = np.frombuffer(b"".join(value), np.uint8)
            stored[name + _ENDS] = np.cumsum([len(text) for text in value], dtype=np.int64)
        else:
            stored[name] = value
    if stored:
        weights.save(run_dir / _FILE, stored, {})


def load(run_dir: Path, variables: Mapping[str, tf.Variable]) -> None:
    """Assign the values that `save` wrote.

    Raises:
        ValueError: the file is missing or damaged.
    """
    if not variables:
        return
    stored, _ = weights.load(run_dir / _FILE, weights.TRAIN_AGAIN)
    for name, variable in variables.items():
        if variable.dtype == tf.string:
            joined, ends = stored[name + _BYTES].tobytes(), stored[name + _ENDS]
            starts = np.concatenate([[0], ends])[:-1]
            variable.assign([joined[start:end] for start, end in zip(starts, ends, strict=True)])
        else:
            variable.assign(stored[name])
