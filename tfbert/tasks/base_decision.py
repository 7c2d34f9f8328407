"""Decisions: variables such as thresholds, fitted to held-out records after training, that complete the outputs."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import tensorflow as tf

VALIDATION, CALIBRATION = "validation", "calibration"
# Names of outputs that are not served, but from which served ones are calculated, and of the p-value of a text.
LOGITS, VECTOR, OUT_OF_DOMAIN = "logits", "vector", "out_of_domain"


@dataclass(frozen=True)
class Predicted:
    """The outputs for the records of a split, and what they should be.

    Args:
        outputs: results of `FittedTask.decode` as arrays by name, record first.
        gold: the gold value of each record.
    """

    outputs: Mapping[str, np.ndarray]
    gold: Sequence


class Decision(abc.ABC):
    """Thresholds or similar variables, which are fitted to held-out records after training and applied in the graph.

    Attributes:
        specs: dtype and shape of the variables, by name.
        fitted_to: the splits that the variables are fitted to, as far as they exist.
        fitted_every_epoch: whether the decision is also fitted before the scores of an epoch are computed, so that the
            scores do not depend on the initial values of the variables.
    """

    specs: Mapping[str, tf.TensorSpec]
    fitted_to: ClassVar[tuple[str, ...]] = (VALIDATION,)
    fitted_every_epoch: ClassVar[bool] = False

    @abc.abstractmethod
    def initial(self) -> Mapping[str, np.ndarray]:
        """Return the values of the variables before the decision is fitted."""

    @abc.abstractmethod
    def fit(self, splits: Mapping[str, Predicted]) -> Mapping[str, np.ndarray]:
        """Return the best values of the variables; those for which there is no split have their initial values.

        Args:
            splits: predictions for splits of `fitted_to`, by name. None of these records were trained on, and those of
                calibration had no part in the choice of the weights or of a threshold.
        """

    @abc.abstractmethod
    def describe(self, decided: Mapping[str, np.ndarray]) -> str:
        """Return what the decision does with its values, in a phrase for people who apply it themselves.

        Empty if the decision changes nothing.

        Args:
            decided: the values of the variables by name.
        """

    def covered(self, outputs: Mapping[str, np.ndarray], gold: Sequence) -> np.ndarray | None:
        """Return whether the set or interval of each record contains the true answer; `None` if there are none.

        Args:
            outputs: served outputs as arrays by name, record first.
            gold: the gold value of each record.
        """
        return None

    def limitation(self, splits: Mapping[str, Predicted]) -> str:
        """Return why a guarantee that the user chose cannot be given, and what would help; empty if it can.

        Args:
            splits: as for `fit`.
        """
        return ""

    def calibrate(self, scores: tf.Tensor, decided: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return logits whose softmax or sigmoid is the served probability, in the graph; `scores` by default.

        Combining the scores of the windows of a text before or after this gives the same result.

        Args:
            scores: the scores of texts or of their windows.
            decided: the variables by name.
        """
        return scores

    @abc.abstractmethod
    def apply(self, outputs: Mapping[str, tf.Tensor], decided: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the served outputs, in the graph.

        Args:
            outputs: the result of `FittedTask.decode`.
            decided: the variables by name.
        """
