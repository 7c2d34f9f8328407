"""Nearest neighbours by cosine similarity, exact and in blocks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from tfbert.progress_bars import hidden

# Values of a block of the similarity matrix, which limits memory.
_BLOCK_VALUES = 2**24


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest neighbours of some rows, nearest first.

    Args:
        rows: int64 `(rows,)`, the rows whose neighbours these are.
        indices: int64 `(rows, count)`.
        similarities: float32 `(rows, count)`, cosines.
    """

    rows: np.ndarray
    indices: np.ndarray
    similarities: np.ndarray


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Return vectors of length 1 in the same directions, float32."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)


def neighbour_blocks(
    queries: np.ndarray, vectors: np.ndarray, count: int, *, is_same: bool, title: str = ""
) -> Iterator[Neighbours]:
    """Yield the nearest neighbours of all queries, a block of queries at a time.

    Args:
        queries: unit vectors, float32 `(queries, size)`.
        vectors: unit vectors among which to search, float32 `(vectors, size)`.
        count: number of neighbours; fewer if there are fewer vectors.
        is_same: whether both are the same rows, of which none is its own neighbour.
        title: title of the progress bar; empty for no progress bar.
    """
    count = min(count, len(vectors) - is_same)
    size = max(1, _BLOCK_VALUES // max(len(vectors), 1))
    with tqdm(total=len(queries), desc=title, unit=" rows", leave=False, disable=hidden() if title else True) as bar:
        for start in range(0, len(queries), size):
            rows = np.arange(start, min(start + size, len(queries)))
            similarities = queries[rows] @ vectors.T
            if is_same:
                similarities[np.arange(len(rows)), rows] = -np.inf
            if count < similarities.shape[1]:
                indices = np.argpartition(similarities, -count, axis=1)[:, -count:]
            else:
                indices = np.tile(np.arange(count), (len(rows), 1))
            values = np.take_along_axis(similarities, indices, axis=1)
            # Equal similarities in the order of the rows.
            order = np.lexsort((indices, -values), axis=1)
            yield Neighbours(rows, *(np.take_along_axis(part, order, axis=1) for part in (indices, values)))
            bar.update(len(rows))


def nearest(queries: np.ndarray, vectors: np.ndarray, count: int, *, is_same: bool = False) -> Neighbours:
    """Return the nearest neighbours of all queries; the arguments are those of `neighbour_blocks`."""
    blocks = list(neighbour_blocks(queries, vectors, count, is_same=is_same))
    if not blocks:
        return Neighbours(np.zeros(0, np.int64), np.zeros((0, 0), np.int64), np.zeros((0, 0), np.float32))
    return Neighbours(
        *(np.concatenate([getattr(block, name) for block in blocks]) for name in ("rows", "indices", "similarities"))
    )
