"""Vectors of different lengths as one array, and what arrays and such vectors have in common."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Ragged:
    """Vectors of different lengths, end to end.

    Args:
        values: `(sum of all lengths,)`; may be memory-mapped.
        starts: int64 `(number + 1,)`, the position of each vector in `values`.
    """

    values: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.values[self.starts[index] : self.starts[index + 1]]

    @classmethod
    def of(cls, tensor: tf.RaggedTensor) -> "Ragged":
        """Return the values of an eager ragged tensor of rank 2."""
        return cls(tensor.flat_values.numpy(), tensor.row_splits.numpy())

    def lengths(self) -> np.ndarray:
        """Return the length of each vector: int64 `(number,)`."""
        return np.diff(self.starts)

    def head(self, number: int) -> "Ragged":
        """Return the first vectors."""
        return Ragged(self.values[: self.starts[number]], self.starts[: number + 1])

    def take(self, indices: np.ndarray) -> "Ragged":
        """Return vectors in the order of their indices."""
        lengths = self.lengths()[indices]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(starts[-1]) + np.repeat(self.starts[indices] - starts[:-1], lengths)
        return Ragged(self.values[places], starts)


Values = np.ndarray | Ragged


def head(values: Values, number: int) -> Values:
    """Return the first rows or vectors."""
    return values.head(number) if isinstance(values, Ragged) else values[:number]


def take(values: Values, indices: np.ndarray) -> Values:
    """Return rows or vectors in the order of their indices."""
    return values.take(indices) if isinstance(values, Ragged) else values[indices]
