"""Calibrated confidence of predictions that are not one of several labels, such as entities and answers."""

import abc
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfbert.calibration.temperature import MIN_PROBABILITY, fit_sigmoid
from tfbert.tasks.base_decision import CALIBRATION, Decision, Predicted

SPECS = {"confidence_slope": tf.TensorSpec([], tf.float32), "confidence_intercept": tf.TensorSpec([], tf.float32)}
INITIAL = {"confidence_slope": np.float32(1), "confidence_intercept": np.float32(0)}


def fit_confidence(probabilities: np.ndarray, is_right: np.ndarray) -> dict[str, np.ndarray]:
    """Return the variables with which the probability of predictions is that of being right.

    Args:
        probabilities: of predictions for calibration records, float `(predictions,)`.
        is_right: whether each prediction is right, bool `(predictions,)`.
    """
    slope, intercept = fit_sigmoid(probabilities, is_right)
    return {"confidence_slope": np.float32(slope), "confidence_intercept": np.float32(intercept)}


def calibrated(probabilities: tf.Tensor, decided: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Return calibrated probabilities, in the graph; those of padding, 0, stay 0."""
    inside = tf.clip_by_value(probabilities, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    log_odds = tf.math.log(inside) - tf.math.log1p(-inside)
    scaled = tf.sigmoid(log_odds * decided["confidence_slope"] + decided["confidence_intercept"])
    return tf.where(probabilities > 0, scaled, 0.0)


def describe(decided: Mapping[str, np.ndarray]) -> str:
    """Return how the confidence is calculated; empty if it is not calibrated."""
    slope, intercept = (float(decided[name]) for name in SPECS)
    if (slope, intercept) == (1, 0):
        return ""
    return f"the confidence, the sigmoid of {slope:.4g} times the log-odds of the probability {intercept:+.4g}"


class ConfidenceDecision(Decision):
    """Calibrated confidence in the output `probability`, without any other decision."""

    specs = SPECS
    fitted_to = (CALIBRATION,)

    @abc.abstractmethod
    def confidences_of(self, predicted: Predicted) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of each prediction for the records of a split, and whether it is right."""

    def initial(self) -> Mapping[str, np.ndarray]:
        """Return variables that do not change the confidence."""
        return INITIAL

    def fit(self, splits: Mapping[str, Predicted]) -> Mapping[str, np.ndarray]:
        """Return the variables for the calibration split."""
        return fit_confidence(*self.confidences_of(splits[CALIBRATION])) if CALIBRATION in splits else INITIAL

    def describe(self, decided: Mapping[str, np.ndarray]) -> str:
        """Return how the confidence is calculated, if it is calibrated."""
        return describe(decided)

    def apply(self, outputs: Mapping[str, tf.Tensor], decided: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the outputs with the calibrated confidence."""
        return {**outputs, "probability": calibrated(outputs["probability"], decided)}
