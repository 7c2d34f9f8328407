"""Export of a run's index for FAISS, for indexes too large to compare a query with every vector."""

import json
from pathlib import Path

import numpy as np

from tfbert.extras import import_library
from tfbert.files import writing
from tfbert.models.saved_run import load_run
from tfbert.tasks.base import FittedTask, fitted_kinds, list_tasks

# Up to this number of vectors the FAISS index is exact: it compares a query with all of them.
_MAX_EXACT = 100_000
# Neighbors of each vector in the HNSW graph that larger indexes use; FAISS's usual value.
_NEIGHBORS = 32


def export_vectors(run_dir: Path, out_dir: Path) -> int:
    """Write `vectors.faiss`, and `vectors.jsonl`, whose line N describes vector N.

    Inner products of the vectors are cosines. The SavedModel's signature `embed` returns the vector of a query. The
    index of the task describes what a line holds.

    Args:
        run_dir: the directory of a finished run with an index.
        out_dir: created if missing.

    Returns:
        The number of vectors.

    Raises:
        ValueError: there is no finished run, its task has no index, or FAISS is not installed.
    """
    run = load_run(run_dir)
    if run.task.index is None:
        expected = " or ".join(_tasks_with_index())
        raise ValueError(f"{run_dir}: its model has no index of vectors; expected a run of {expected} that has one")
    faiss = import_library("faiss", "the index for FAISS", "faiss")
    values = {name: variable.numpy() for name, variable in run.predictor.index.items()}
    vectors, descriptions = run.task.index.entries(values)
    vectors = np.ascontiguousarray(vectors)
    size = vectors.shape[1]
    if len(vectors) <= _MAX_EXACT:
        faiss_index = faiss.IndexFlatIP(size)
    else:
        faiss_index = faiss.IndexHNSWFlat(size, _NEIGHBORS, faiss.METRIC_INNER_PRODUCT)
    faiss_index.add(vectors)
    out_dir.mkdir(parents=True, exist_ok=True)
    with writing(out_dir / "vectors.faiss"):
        faiss.write_index(faiss_index, str(out_dir / "vectors.faiss"))
    path = out_dir / "vectors.jsonl"
    with writing(path), open(path, "w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(description, ensure_ascii=False) + "\n" for description in descriptions)
    return len(vectors)


def _tasks_with_index() -> list[str]:
    """Return the names of the tasks that search an index, with some training data at least."""
    names = list_tasks()
    return [name for name in names if any(kind.index is not FittedTask.index for kind in fitted_kinds(name))]
