"""Ragged arrays: vectors of different lengths, stored in one NumPy array."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Ragged:
    """Concatenated vectors of different lengths.

    Args:
        values: `(sum of all lengths,)`; may be memory-mapped.
        starts: int64 `(num_vectors + 1,)`, the position of each vector in `values`, and the length of `values`.
    """

    values: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.values[self.starts[index] : self.starts[index + 1]]

    @classmethod
    def from_tensor(cls, tensor: tf.RaggedTensor) -> "Ragged":
        """Return the rows of an eager ragged tensor of rank 2."""
        return cls(tensor.flat_values.numpy(), tensor.row_splits.numpy())

    def lengths(self) -> np.ndarray:
        """Return the length of each vector: int64 `(num_vectors,)`."""
        return np.diff(self.starts)

    def head(self, num_vectors: int) -> "Ragged":
        """Return the first vectors."""
        return Ragged(self.values[: self.starts[num_vectors]], self.starts[: num_vectors + 1])

    def take(self, indices: np.ndarray) -> "Ragged":
        """Return the vectors at the given indices, in that order."""
        lengths = self.lengths()[indices]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        positions = np.arange(starts[-1]) + np.repeat(self.starts[indices] - starts[:-1], lengths)
        return Ragged(self.values[positions], starts)


Values = np.ndarray | Ragged


def head(values: Values, count: int) -> Values:
    """Return the first rows of an array, or the first vectors."""
    return values.head(count) if isinstance(values, Ragged) else values[:count]


def take(values: Values, indices: np.ndarray) -> Values:
    """Return the rows of an array, or the vectors, at the given indices, in that order."""
    return values.take(indices) if isinstance(values, Ragged) else values[indices]


def concatenated(parts: Sequence[Values]) -> Values:
    """Return the rows of several arrays, or the vectors of several ragged arrays, one after the other."""
    if not isinstance(parts[0], Ragged):
        return np.concatenate(parts)
    lengths = np.concatenate([part.lengths() for part in parts])
    return Ragged(np.concatenate([part.values for part in parts]), np.concatenate([[0], np.cumsum(lengths)]))
