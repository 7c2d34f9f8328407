"""Variables of a model beside its weights, such as an index or thresholds: made, saved with the run, loaded."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfbert.models import weights

_FILE = "variables.safetensors"
# The file format has numbers only: a string array is stored as its bytes end to end, and the end of each string.
_BYTES, _ENDS = "/bytes", "/ends"


def empty_variables(specs: Mapping[str, tf.TensorSpec]) -> dict[str, tf.Variable]:
    """Return variables without values, which take arrays of any size that the specs allow."""
    return {
        name: tf.Variable(
            tf.zeros([size or 0 for size in spec.shape], spec.dtype), trainable=False, shape=spec.shape, name=name
        )
        for name, spec in specs.items()
    }


def save(run_dir: Path, variables: Mapping[str, tf.Variable]) -> None:
    """Write variables, if there are any; string variables have one dimension."""
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
    """Give variables the values that `save` wrote, if there are any.

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
