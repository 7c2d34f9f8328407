"""Evaluation of multiple choice: accuracy compared with chance and by position, reliability and mistakes."""

from collections.abc import Sequence

import numpy as np

from tfbert.evaluation import metrics
from tfbert.evaluation.classification import LOSS
from tfbert.evaluation.formatting import percent
from tfbert.evaluation.metric import Confidences, Evaluation, Metric, Outcome, ScoreFunction

ACCURACY = Metric(
    "accuracy",
    "higher",
    "fraction",
    "fraction of questions whose choice is predicted correctly",
    expectation="questions to get the right choice",
)
METRICS = (ACCURACY, LOSS)


class ChoiceEvaluation(Evaluation):
    """The predicted and the correct choice of each question.

    Args:
        predicted: indices of the predicted choices, int `(questions,)`.
        probabilities: float32 `(questions, largest number of choices)`, 0 for padding.
        gold: indices of the correct choices, int `(questions,)`.
        choices: the texts of each question's choices.
    """

    def __init__(
        self, predicted: np.ndarray, probabilities: np.ndarray, *, gold: np.ndarray, choices: Sequence[Sequence[str]]
    ):
        self._predicted, self._probabilities, self._gold, self._choices = predicted, probabilities, gold, choices
        self._is_right = predicted == gold

    def values(self) -> dict[str, float]:
        """Return accuracy and the mean cross-entropy in nats."""
        return {ACCURACY.name: float(np.mean(self._is_right)), LOSS.name: float(self._losses().mean())}

    def intervals(self) -> dict[str, dict[str, float]]:
        """Return accuracy with its interval."""
        return {
            ACCURACY.name: metrics.resampled(lambda records: float(self._is_right[records].mean()), len(self._is_right))
        }

    def score_functions(self) -> dict[str, ScoreFunction]:
        """Return a function for each metric that computes it on resampled records."""
        losses = self._losses()
        return {
            ACCURACY.name: lambda records: float(self._is_right[records].mean()),
            LOSS.name: lambda records: float(losses[records].mean()),
        }

    def record_scores(self) -> np.ndarray:
        """Return 1 for questions with the right choice, else 0."""
        return self._is_right.astype(float)

    def outcome(self, record: int) -> Outcome:
        """Return the right and the predicted choice of a question."""
        ids = self._gold[record], self._predicted[record]
        gold, predicted = (self._choices[record][choice] for choice in ids)
        gold_probability, probability = (float(self._probabilities[record, choice]) for choice in ids)
        return Outcome(gold, predicted, probability, gold_probability=gold_probability)

    def confidences(self) -> Confidences:
        """Return the probability of each predicted choice."""
        return Confidences(self._probabilities[np.arange(len(self._gold)), self._predicted], self._is_right)

    def sections(self) -> dict:
        """Return accuracy by number of choices and by position, and reliability."""
        return {
            "reliability": metrics.reliability(self._gold, self._probabilities),
            "tables": [self._table_by_number(), self._table_by_position()],
        }

    def mistakes(self) -> list[int]:
        """Return the questions with a wrong choice, the most confident first."""
        wrong = np.flatnonzero(~self._is_right)
        confidence = self._probabilities[wrong, self._predicted[wrong]]
        return wrong[np.argsort(-confidence, kind="stable")].tolist()

    def _losses(self) -> np.ndarray:
        """Return the cross-entropy of each question in nats."""
        likelihood = self._probabilities[np.arange(len(self._gold)), self._gold]
        return -np.log(np.maximum(likelihood, 1e-12))

    def _table_by_number(self) -> dict:
        num_choices = np.asarray([len(choices) for choices in self._choices])
        groups = [(str(number), num_choices == number) for number in np.unique(num_choices)]
        rows = [
            [
                name,
                int(is_in_group.sum()),
                percent(self._is_right[is_in_group].mean()),
                percent((1 / num_choices[is_in_group]).mean()),
            ]
            for name, is_in_group in [*groups, ("all", np.ones(len(num_choices), bool))]
        ]
        caption = "Chance is the accuracy of random choices. A model that is no better has learned nothing."
        return {
            "title": "Accuracy by number of choices",
            "columns": ["choices", "questions", "accuracy", "chance"],
            "rows": rows,
            "caption": caption,
        }

    def _table_by_position(self) -> dict:
        rows = []
        for position in range(int(max(self._gold.max(), self._predicted.max())) + 1):
            is_gold, is_predicted = self._gold == position, self._predicted == position
            accuracy = is_predicted[is_gold].mean() if is_gold.any() else None
            rows.append([position, int(is_gold.sum()), int(is_predicted.sum()), percent(accuracy)])
        caption = "The model scores each choice separately and does not see its position. Positions are counted from 0."
        return {
            "title": "Correct and predicted choices by position",
            "columns": ["position", "times correct", "times predicted", "accuracy where correct"],
            "rows": rows,
            "caption": caption,
        }
