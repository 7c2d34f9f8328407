"""The values of a task's decision beside an export: JSON, in which an infinite threshold is null."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfbert.files import read_json


def decided_to_json(values: Mapping[str, np.ndarray]) -> dict:
    """Return values of a decision, ready for JSON."""
    return {name: None if np.isposinf(value).all() else value.tolist() for name, value in values.items()}


def decided_from_json(path: Path) -> dict[str, np.ndarray]:
    """Return the values that `decided_to_json` described; none where there is no such file."""
    stored = read_json(path) if path.exists() else {}
    return {name: np.float32(np.inf) if value is None else np.asarray(value) for name, value in stored.items()}
