"""Evaluation of multiple choice: accuracy next to guessing and by position, reliability, and the worst mistakes."""

from collections.abc import Sequence

import numpy as np

from tfbert.evaluation import metrics
from tfbert.evaluation.classification import ACCURACY, LOSS
from tfbert.evaluation.formatting import percent
from tfbert.evaluation.metric import Evaluation

_WORST_MISTAKES = 30

METRICS = (ACCURACY, LOSS)


class ChoiceEvaluation(Evaluation):
    """One predicted and one right choice for each question.

    Args:
        predicted: indices of the predicted choices, int `(questions,)`.
        probabilities: of each choice, float32 `(questions, largest number of choices)`, 0 for padding.
        gold: indices of the right choices, int `(questions,)`.
        choices: the texts of the choices of each question.
    """

    def __init__(
        self, predicted: np.ndarray, probabilities: np.ndarray, *, gold: np.ndarray, choices: Sequence[Sequence[str]]
    ):
        self._predicted, self._probabilities, self._gold, self._choices = predicted, probabilities, gold, choices
        self._is_right = predicted == gold

    def values(self) -> dict[str, float]:
        """Return accuracy and the mean cross-entropy in nats."""
        likelihood = self._probabilities[np.arange(len(self._gold)), self._gold]
        return {
            "accuracy": float(np.mean(self._is_right)),
            "loss": float(-np.log(np.maximum(likelihood, 1e-12)).mean()),
        }

    def intervals(self) -> dict[str, dict[str, float]]:
        """Return accuracy with its interval."""
        return {
            "accuracy": metrics.resampled(lambda records: float(self._is_right[records].mean()), len(self._is_right))
        }

    def sections(self) -> dict:
        """Return accuracy next to guessing and by position, reliability, and the most confident mistakes."""
        wrong = np.flatnonzero(~self._is_right)
        confidence = self._probabilities[wrong, self._predicted[wrong]]
        worst = wrong[np.argsort(-confidence, kind="stable")][:_WORST_MISTAKES]
        return {
            "reliability": metrics.reliability(self._gold, self._probabilities),
            "tables": [self._table_by_number(), self._table_by_position()],
            "worst": {int(question): self._mistake(question) for question in worst},
        }

    def _mistake(self, question: int) -> dict:
        choices, right, predicted = self._choices[question], self._gold[question], self._predicted[question]
        return {
            "label": choices[right],
            "predicted": choices[predicted],
            "probability": float(self._probabilities[question, predicted]),
            "label_probability": float(self._probabilities[question, right]),
        }

    def _table_by_number(self) -> dict:
        numbers = np.asarray([len(choices) for choices in self._choices])
        groups = [(str(number), numbers == number) for number in np.unique(numbers)]
        rows = [
            [name, int(inside.sum()), percent(self._is_right[inside].mean()), percent((1 / numbers[inside]).mean())]
            for name, inside in [*groups, ("all", np.ones(len(numbers), bool))]
        ]
        caption = "Guessing is what choosing by chance would give. A model that is no better has learned nothing."
        return {
            "title": "Accuracy by number of choices",
            "columns": ["choices", "questions", "accuracy", "guessing"],
            "rows": rows,
            "caption": caption,
        }

    def _table_by_position(self) -> dict:
        rows = []
        for position in range(int(max(self._gold.max(), self._predicted.max())) + 1):
            is_gold, is_predicted = self._gold == position, self._predicted == position
            accuracy = is_predicted[is_gold].mean() if is_gold.any() else None
            rows.append([position, int(is_gold.sum()), int(is_predicted.sum()), percent(accuracy)])
        caption = "The model sees one choice at a time and not its place. Places are counted from 0."
        return {
            "title": "Right and chosen by place",
            "columns": ["place", "times right", "times chosen", "accuracy where right"],
            "rows": rows,
            "caption": caption,
        }
