"""Evaluation of classification: accuracy, F1, Matthews correlation, calibration, confusion matrix, mistakes."""

from collections.abc import Sequence

import numpy as np

from tfbert.evaluation import metrics
from tfbert.evaluation.metric import Evaluation, Metric, Mistake

ACCURACY = Metric(
    "accuracy",
    "higher",
    "fraction",
    "fraction of examples that are predicted correctly",
    expectation="texts to get the right label",
)
MACRO_F1 = Metric(
    "macro_f1",
    "higher",
    "fraction",
    "mean F1 of the labels; rare labels count as much as common ones",
    title="macro F1",
    is_label_mean=True,
)
MCC = Metric(
    "mcc",
    "higher",
    "correlation",
    "Matthews correlation of predicted and true labels: 0 is chance, 1 is perfect",
    title="MCC",
)
LOSS = Metric("loss", "lower", "nats", "mean cross-entropy")
METRICS = (ACCURACY, MACRO_F1, MCC, LOSS)


class LabelEvaluation(Evaluation):
    """One predicted and one true label for each record.

    Args:
        label_ids: predicted label ids, int `(records,)`.
        probabilities: float32 `(records, labels)`.
        gold: true label ids, int `(records,)`.
        labels: names by id.
    """

    def __init__(self, label_ids: np.ndarray, probabilities: np.ndarray, gold: Sequence[int], labels: Sequence[str]):
        self._predicted, self._probabilities, self._labels = label_ids, probabilities, list(labels)
        self._gold = np.asarray(gold)
        self._confusion = metrics.confusion_matrix(self._gold, label_ids, len(labels))

    def values(self) -> dict[str, float]:
        """Return accuracy, macro F1, the Matthews correlation and the mean cross-entropy in nats."""
        likelihood = self._probabilities[np.arange(len(self._gold)), self._gold]
        return {
            ACCURACY.name: float(metrics.accuracy(self._confusion)),
            MACRO_F1.name: float(metrics.macro_f1(self._confusion)),
            MCC.name: float(metrics.matthews(self._confusion)),
            LOSS.name: float(-np.log(np.maximum(likelihood, 1e-12)).mean()),
        }

    def intervals(self) -> dict[str, dict[str, float]]:
        """Return accuracy, macro F1 and the Matthews correlation with their intervals."""
        functions = {ACCURACY.name: metrics.accuracy, MACRO_F1.name: metrics.macro_f1, MCC.name: metrics.matthews}
        return {name: metrics.with_interval(score, self._confusion) for name, score in functions.items()}

    def per_label(self) -> dict[str, dict]:
        """Return precision, recall and F1 of each label."""
        return metrics.per_label(self._confusion, self._labels)

    def sections(self) -> dict:
        """Return the confusion matrix and the reliability."""
        return {
            "labels": self._labels,
            "confusion": self._confusion,
            "reliability": metrics.reliability(self._gold, self._probabilities),
        }

    def mistakes(self) -> dict[int, Mistake]:
        """Return the mistakes, the most confident first."""
        predicted = self._probabilities.argmax(1)
        wrong = np.flatnonzero(predicted != self._gold)
        order = wrong[np.argsort(-self._probabilities[wrong, predicted[wrong]], kind="stable")]
        return {int(record): self._mistake(record, predicted[record]) for record in order}

    def _mistake(self, record: int, predicted: int) -> Mistake:
        gold = self._gold[record]
        return Mistake(
            label=self._labels[gold],
            predicted=self._labels[predicted],
            probability=float(self._probabilities[record, predicted]),
            label_probability=float(self._probabilities[record, gold]),
            groups=((self._labels[gold], self._labels[predicted]),),
        )
