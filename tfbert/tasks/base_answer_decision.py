"""Decision of answers: the no-answer threshold, and calibrated confidence."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfbert.evaluation import answers as evaluation
from tfbert.evaluation.squad import exact_match
from tfbert.tasks import base_confidence
from tfbert.tasks.base_decision import CALIBRATION, VALIDATION, Decision, Predicted


class AnswerDecision(Decision):
    """The margin of no answer above which there is no answer, and calibrated confidence.

    The margin is that over the best span; its limit is infinity if all questions have an answer.

    Args:
        has_unanswerable: whether some questions in train have no answer.
    """

    specs = {"threshold": tf.TensorSpec([], tf.float32), **base_confidence.SPECS}
    fitted_to = (VALIDATION, CALIBRATION)
    fitted_every_epoch = True

    def __init__(self, has_unanswerable: bool):
        self._initial = 0.0 if has_unanswerable else np.inf

    def initial(self) -> Mapping[str, np.ndarray]:
        """Return 0 if some questions in train have no answer, else infinity."""
        return {"threshold": np.float32(self._initial), **base_confidence.INITIAL}

    def fit(self, splits: Mapping[str, Predicted]) -> Mapping[str, np.ndarray]:
        """Return the threshold with the highest F1, and the confidence that the best span is a true answer."""
        values = dict(self.initial())
        if VALIDATION in splits:
            outputs, gold = splits[VALIDATION].outputs, splits[VALIDATION].gold
            threshold = evaluation.best_threshold(_best_spans(outputs), outputs["no_answer_margin"], gold)
            values["threshold"] = np.float32(threshold)
        if CALIBRATION in splits:
            outputs, gold = splits[CALIBRATION].outputs, splits[CALIBRATION].gold
            is_right = [
                bool(item.answers) and exact_match(span, item.answers) == 1
                for span, item in zip(_best_spans(outputs), gold, strict=True)
            ]
            values |= base_confidence.fit_confidence(outputs["probability"][:, 0], np.asarray(is_right))
        return values

    def describe(self, decided: Mapping[str, np.ndarray]) -> str:
        """Return the threshold, if some questions may have no answer, and the confidence, if it is calibrated."""
        threshold = float(decided["threshold"])
        limit = "" if threshold == np.inf else f"no answer if [CLS] exceeds the best span by more than {threshold:.6g}"
        return "; ".join(part for part in (limit, base_confidence.describe(decided)) if part)

    def apply(self, outputs: Mapping[str, tf.Tensor], decided: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the outputs with `best_answer`, string `(batch,)`, "" for no answer."""
        has_none = outputs["no_answer_margin"] > decided["threshold"]
        probability = base_confidence.calibrated(outputs["probability"], decided)
        return {**outputs, "probability": probability, "best_answer": tf.where(has_none, "", outputs["answer"][:, 0])}


def _best_spans(outputs: Mapping[str, np.ndarray]) -> list[str]:
    return [text.decode("utf-8", "replace") for text in outputs["answer"][:, 0]]
