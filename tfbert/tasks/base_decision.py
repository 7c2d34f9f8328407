"""Decisions: model variables that turn raw outputs into answers, fitted to validation after training."""

import abc
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf


class Decision(abc.ABC):
    """What validation decides after training, such as thresholds.

    Attributes:
        specs: type and shape of its variables, by name.
    """

    specs: Mapping[str, tf.TensorSpec]

    @abc.abstractmethod
    def initial(self) -> Mapping[str, np.ndarray]:
        """Return the values of the variables before anything is decided."""

    @abc.abstractmethod
    def fit(self, outputs: Mapping[str, np.ndarray], gold: Sequence) -> Mapping[str, np.ndarray]:
        """Return the values that are best for a split.

        Args:
            outputs: as `FittedTask.decode` returns them, with the record first.
            gold: the truth for each record.
        """

    @abc.abstractmethod
    def apply(self, outputs: Mapping[str, tf.Tensor], decided: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the served outputs, in the graph.

        Args:
            outputs: as `FittedTask.decode` returns them.
            decided: the variables by name.
        """
