"""What imports and exports share: tfbert.json, and BERT's pooler as a copy of the first token's vector."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tfbert.encoder.bert import BertEncoder
from tfbert.files import read_json, sha256_of, write_json
from tfbert.models.decision_values import values_to_json
from tfbert.models.saved_run import SavedRun

WEIGHTS, CONFIG, RECORD = "model.safetensors", "config.json", "tfbert.json"

# The slope of the pooler that copies the first token's vector. tanh(x) equals x up to x ** 3 / 3, so that a small slope
# makes the copy exact up to a relative error below 1e-5. A power of two adds no rounding error.
COPYING_SLOPE = 2.0**-12


def copying_pooler(hidden_dim: int) -> np.ndarray:
    """Return the kernel of a pooler that returns the first token's vector times `COPYING_SLOPE`; its bias is 0."""
    return np.eye(hidden_dim, dtype=np.float32) * np.float32(COPYING_SLOPE)


def has_copying_pooler(backbone: BertEncoder) -> bool:
    """Return whether the pooler of an encoder only copies the first token's vector."""
    kernel, bias = (np.asarray(weight) for weight in (backbone.pooled_dense.kernel, backbone.pooled_dense.bias))
    return not bias.any() and np.array_equal(kernel, copying_pooler(backbone.hidden_dim))


def write_record(directory: Path, run: SavedRun | None = None) -> None:
    """Write what only tfbert reads to tfbert.json; the weights must have been written.

    Args:
        directory: the directory of the export.
        run: the run whose task, config and decision are written; `None` for an export that cannot be imported as a
            model of a task.
    """
    record = {"weights_sha256": sha256_of(directory / WEIGHTS)}
    if run is not None:
        config = run.config.to_dict()
        # The data section names files of this machine.
        task = run.task
        if task.domain is not None:  # It is not written.
            task = replace(task, options=replace(task.options, out_of_domain="none"))
        record |= {"task": task.to_json(), "config": {name: config[name] for name in ("task", "encoder", "head")}}
        record |= {"decided": values_to_json(run.predictor.decided_values())}
    write_json(directory / RECORD, record)


def read_record(directory: Path) -> dict[str, Any] | None:
    """Return task, config and decision in tfbert.json; `None` without them, or if the weights have changed since."""
    record = _record(directory)
    return record if record and "task" in record else None


def is_export(directory: Path) -> bool:
    """Return whether tfbert wrote the weights in a directory and nothing has changed them since."""
    return _record(directory) is not None


def _record(directory: Path) -> dict[str, Any] | None:
    path, weights = directory / RECORD, directory / WEIGHTS
    if not path.is_file() or not weights.is_file():
        return None
    record = read_json(path)
    return record if record["weights_sha256"] == sha256_of(weights) else None
