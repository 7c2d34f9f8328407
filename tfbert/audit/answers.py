"""What an audit compares: the probabilities and the labels, or the values, that a model predicts for texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tfbert.tasks.base import FittedTask, list_tasks, load_task
from tfbert.tasks.base_pooled import FittedPooledTask, PooledTask
from tfbert.text.records import Record


@dataclass(frozen=True)
class Answers:
    """Predictions for texts, in the form that is common to the tasks on whole texts.

    Args:
        names: the labels; for a regression, `value`.
        confidences: float64 `(texts, names)`: the probability of each label, or the value.
        chosen: bool `(texts, labels)`: the predicted labels; `None` for a regression.
        several: whether a text may have several labels.
        scale: what counts as one unit of change: 1 for probabilities, the standard deviation of train for values.
    """

    names: tuple[str, ...]
    confidences: np.ndarray
    chosen: np.ndarray | None
    several: bool
    scale: float

    @property
    def num_free(self) -> int:
        """The number of columns that can change independently: the probabilities of two labels mirror each other."""
        return 1 if len(self.names) == 2 and not self.several else len(self.names)

    def total_change(self, other: "Answers") -> np.ndarray:
        """Return how much the predictions differ from others for the same texts, float64 `(texts,)`.

        It is the probability that moves from some labels to others, the largest change of any label if texts may have
        several, or the change of the value.
        """
        changes = np.abs(other.confidences - self.confidences)
        return changes.max(axis=1) if self.several or self.chosen is None else changes.sum(axis=1) / 2

    def flips(self, other: "Answers") -> np.ndarray:
        """Return for which texts the predicted labels differ, bool `(texts,)`; false for a regression."""
        if self.chosen is None:
            return np.zeros(len(self.confidences), bool)
        return (self.chosen != other.chosen).any(axis=1)


def require_audited(task: FittedTask) -> None:
    """Reject tasks whose predictions an audit cannot compare.

    Raises:
        ValueError: the task does not label whole texts.
    """
    if not isinstance(task, FittedPooledTask):
        names = [name for name in list_tasks() if isinstance(load_task(name), PooledTask)]
        raise ValueError(f"--audit: is not available for {task.name}; expected a model of {', '.join(names)}")


def answers_of(task: FittedTask, outputs: Mapping[str, np.ndarray]) -> Answers:
    """Return the predictions in the served outputs of a task that `require_audited` accepts."""
    several = task.definition.several_labels
    if not task.known_labels:
        values = np.asarray(outputs["value"], np.float64)[:, None]
        return Answers(("value",), values, None, several, task.score_scale)
    names = tuple(task.known_labels)
    predicted = outputs["labels"] if several else outputs["label"][:, None]
    return Answers(
        names, np.asarray(outputs["probabilities"], np.float64), _has_label(names, predicted.tolist()), several, 1.0
    )


def gold_labels(task: FittedTask, records: Sequence[Record]) -> np.ndarray:
    """Return which labels each record has: bool `(records, labels)`."""
    return _has_label(task.known_labels, [list(task.definition.labels_of(record)) for record in records])


def _has_label(names: Sequence[str], labels: Sequence[Sequence[str | bytes]]) -> np.ndarray:
    ids = {name.encode(): label_id for label_id, name in enumerate(names)}
    ids |= {name: label_id for label_id, name in enumerate(names)}
    matrix = np.zeros((len(labels), len(names)), bool)
    for row, record_labels in enumerate(labels):
        # Outputs are padded with "".
        matrix[row, [ids[label] for label in record_labels if label]] = True
    return matrix
