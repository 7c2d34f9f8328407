"""Decisions: model variables such as thresholds, fitted to validation after training, that complete the outputs."""

import abc
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import tensorflow as tf


class Decision(abc.ABC):
    """Thresholds or similar variables, which are fitted to validation after training and applied in the graph.

    Attributes:
        specs: dtype and shape of the variables, by name.
        fitted_every_epoch: whether the decision is also fitted before the scores of an epoch are computed, so that the
            scores do not depend on the initial values of the variables.
    """

    specs: Mapping[str, tf.TensorSpec]
    fitted_every_epoch: ClassVar[bool] = False

    @abc.abstractmethod
    def initial(self) -> Mapping[str, np.ndarray]:
        """Return the values of the variables before the decision is fitted."""

    @abc.abstractmethod
    def fit(self, outputs: Mapping[str, np.ndarray], gold: Sequence) -> Mapping[str, np.ndarray]:
        """Return the best values of the variables for a split.

        Args:
            outputs: results of `FittedTask.decode` as arrays, record first.
            gold: the gold value of each record.
        """

    @abc.abstractmethod
    def describe(self, decided: Mapping[str, np.ndarray]) -> str:
        """Return what the decision does with its values, in a phrase for people who apply it themselves.

        Empty if the decision changes nothing.

        Args:
            decided: the values of the variables by name.
        """

    @abc.abstractmethod
    def apply(self, outputs: Mapping[str, tf.Tensor], decided: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the served outputs, in the graph.

        Args:
            outputs: the result of `FittedTask.decode`.
            decided: the variables by name.
        """
