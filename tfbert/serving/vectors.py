"""Export of a run's index for FAISS, for indexes too large to compare a query with every vector."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfbert.files import writing
from tfbert.models.saved_run import load_run

# Up to this number of vectors the FAISS index is exact: it compares a query with all of them.
_MAX_EXACT = 100_000
# Neighbors of each vector in the HNSW graph that larger indexes use; FAISS's usual value.
_NEIGHBORS = 32


def export_vectors(run_dir: Path, out_dir: Path) -> int:
    """Write `vectors.faiss`, and `vectors.jsonl`, whose line N describes vector N.

    Inner products of the vectors are cosines. The SavedModel's signature `embed` returns the vector of a query. A line
    has the `entry`, its `answer`, the `question` that the vector was computed from (empty if it was computed from the
    answer), and the `offset` that the model subtracts from its similarity.

    Args:
        run_dir: the directory of a finished run with an index.
        out_dir: created if missing.

    Returns:
        The number of vectors.

    Raises:
        ValueError: there is no finished run, its task has no index, or FAISS is not installed.
    """
    try:
        import faiss
    except ImportError:
        raise ValueError("FAISS is not installed: run pip install '.[faiss]' in the checkout") from None
    index = {name: variable.numpy() for name, variable in load_run(run_dir).predictor.index.items()}
    if not index:
        raise ValueError(f"{run_dir}: its model has no index of vectors; expected a run of matching on pairs")
    vectors = np.ascontiguousarray(index["vectors"])
    size = vectors.shape[1]
    if len(vectors) <= _MAX_EXACT:
        faiss_index = faiss.IndexFlatIP(size)
    else:
        faiss_index = faiss.IndexHNSWFlat(size, _NEIGHBORS, faiss.METRIC_INNER_PRODUCT)
    faiss_index.add(vectors)
    out_dir.mkdir(parents=True, exist_ok=True)
    with writing(out_dir / "vectors.faiss"):
        faiss.write_index(faiss_index, str(out_dir / "vectors.faiss"))
    _write_lines(index, out_dir / "vectors.jsonl")
    return len(vectors)


def _write_lines(index: Mapping[str, np.ndarray], path: Path) -> None:
    answers = [answer.decode() for answer in index["answers"]]
    offset = float(f"{index['offset']:.6g}")
    with writing(path), open(path, "w", encoding="utf-8") as stream:
        for entry, question in zip(index["entries"].tolist(), index["questions"], strict=True):
            line = {"entry": entry, "answer": answers[entry], "question": question.decode()}
            line["offset"] = offset if question else 0.0
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
