"""A finished run in, its index as files for FAISS out: for more entries than comparing with every vector is fit for."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfbert.files import writing
from tfbert.training.finished import load_run

# Up to so many vectors FAISS compares with all of them too, which is exact.
_MOST_EXACT = 100_000
# Neighbours of each vector in the graph that is searched beyond that: the usual number.
_NEIGHBOURS = 32


def export_vectors(run_dir: Path, out_dir: Path) -> int:
    """Write `vectors.faiss` and `vectors.jsonl`, whose line N says what vector N is.

    Inner products of the vectors are cosines. The text that is searched for becomes a vector by the SavedModel's
    signature `embed`. A line has the `entry`, its `answer`, the `question` that the vector is of, or "" where it is of
    the answer, and the `offset` that the model takes off its similarity.

    Args:
        run_dir: of a finished run with an index.
        out_dir: made if missing.

    Returns:
        The number of vectors.

    Raises:
        ValueError: there is no finished run, its task has no index, or FAISS is not installed.
    """
    try:
        import faiss
    except ImportError:
        raise ValueError("FAISS is not installed; wanted pip install '.[faiss]' in the checkout") from None
    arrays = {name: variable.numpy() for name, variable in load_run(run_dir).answering.arrays.items()}
    if "index_vectors" not in arrays:
        raise ValueError(f"{run_dir}: its model has no index of vectors; wanted a run of matching on pairs")
    vectors = np.ascontiguousarray(arrays["index_vectors"])
    size = vectors.shape[1]
    if len(vectors) <= _MOST_EXACT:
        index = faiss.IndexFlatIP(size)
    else:
        index = faiss.IndexHNSWFlat(size, _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    index.add(vectors)
    out_dir.mkdir(parents=True, exist_ok=True)
    with writing(out_dir / "vectors.faiss"):
        faiss.write_index(index, str(out_dir / "vectors.faiss"))
    _write_lines(arrays, out_dir / "vectors.jsonl")
    return len(vectors)


def _write_lines(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    answers = [answer.decode() for answer in arrays["index_answers"]]
    offset = float(f"{arrays['index_offset']:.6g}")
    with writing(path), open(path, "w", encoding="utf-8") as stream:
        for entry, question in zip(arrays["index_entries"].tolist(), arrays["index_questions"], strict=True):
            line = {"entry": entry, "answer": answers[entry], "question": question.decode()}
            line["offset"] = offset if question else 0.0
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
