"""The decision values of a model as JSON, such as thresholds; an infinite threshold is stored as null."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfbert.files import read_json


def values_to_json(values: Mapping[str, np.ndarray]) -> dict:
    """Return decision values as JSON-serializable values."""
    return {name: None if np.isposinf(value).all() else value.tolist() for name, value in values.items()}


def read_values(path: Path) -> dict[str, np.ndarray]:
    """Read the decision values that `values_to_json` returned; empty if the file does not exist."""
    return values_from_json(read_json(path) if path.exists() else {})


def values_from_json(stored: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the decision values that `values_to_json` returned."""
    return {name: np.float32(np.inf) if value is None else np.asarray(value) for name, value in stored.items()}
