"""Evaluation of classification: accuracy, F1, Matthews correlation, calibration, confusion matrix, mistakes."""

from collections.abc import Callable, Sequence

import numpy as np

from tfbert.evaluation import metrics
from tfbert.evaluation.metric import Confidences, Evaluation, Metric, Outcome, ScoreFunction

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
        return {
            ACCURACY.name: float(metrics.accuracy(self._confusion)),
            MACRO_F1.name: float(metrics.macro_f1(self._confusion)),
            MCC.name: float(metrics.matthews(self._confusion)),
            LOSS.name: float(self._losses().mean()),
        }

    def intervals(self) -> dict[str, dict[str, float]]:
        """Return accuracy, macro F1 and the Matthews correlation with their intervals."""
        functions = {ACCURACY: metrics.accuracy, MACRO_F1: metrics.macro_f1, MCC: metrics.matthews}
        return {
            metric.name: metrics.with_interval(score, self._confusion, is_fraction=metric.unit == "fraction")
            for metric, score in functions.items()
        }

    def score_functions(self) -> dict[str, ScoreFunction]:
        """Return a function for each metric that computes it on resampled records."""
        num_labels, losses = len(self._labels), self._losses()
        cells = self._gold * num_labels + self._predicted

        def of_confusion(score: Callable[[np.ndarray], np.ndarray]) -> ScoreFunction:
            def on_records(records: np.ndarray) -> float:
                counts = np.bincount(cells[records], minlength=num_labels**2)
                return float(score(counts.reshape(num_labels, num_labels)))

            return on_records

        functions = {ACCURACY.name: metrics.accuracy, MACRO_F1.name: metrics.macro_f1, MCC.name: metrics.matthews}
        by_name = {name: of_confusion(score) for name, score in functions.items()}
        return by_name | {LOSS.name: lambda records: float(losses[records].mean())}

    def record_scores(self) -> np.ndarray:
        """Return 1 for records with the right label, else 0."""
        return (self._predicted == self._gold).astype(float)

    def outcome(self, record: int) -> Outcome:
        """Return the true and the predicted label of a record."""
        ids = self._gold[record], self._predicted[record]
        gold, predicted = (self._labels[label_id] for label_id in ids)
        gold_probability, probability = (float(self._probabilities[record, label_id]) for label_id in ids)
        confused = () if gold == predicted else ((gold, predicted),)
        return Outcome(gold, predicted, probability, gold_probability=gold_probability, confused=confused)

    def confidences(self) -> Confidences:
        """Return the probability of each predicted label."""
        probabilities = self._probabilities[np.arange(len(self._gold)), self._predicted]
        return Confidences(probabilities, self._predicted == self._gold)

    def per_label(self) -> dict[str, dict]:
        """Return F1, precision and recall of each label."""
        return metrics.per_label(self._confusion, self._labels)

    def sections(self) -> dict:
        """Return the confusion matrix and the reliability."""
        return {
            "labels": self._labels,
            "confusion": self._confusion,
            "reliability": metrics.reliability(self._gold, self._probabilities),
        }

    def mistakes(self) -> list[int]:
        """Return the records with a wrong label, the most confident first."""
        wrong = np.flatnonzero(self._predicted != self._gold)
        confidence = self._probabilities[wrong, self._predicted[wrong]]
        return wrong[np.argsort(-confidence, kind="stable")].tolist()

    def _losses(self) -> np.ndarray:
        """Return the cross-entropy of each record in nats."""
        likelihood = self._probabilities[np.arange(len(self._gold)), self._gold]
        return -np.log(np.maximum(likelihood, 1e-12))
