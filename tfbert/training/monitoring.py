"""Evaluation during training: when it is done, by which metric the best weights are chosen, and early stopping."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras

from tfbert.evaluation.metric import Metric
from tfbert.training.progress import EvaluationPoint


def improves(metric: Metric, score: float, best: float | None) -> bool:
    """Return whether a score is better than the best so far; an equal one is not."""
    return best is None or metric.sign * score > metric.sign * best


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When a training is evaluated.

    Args:
        updates: values of `Progress.update` at which it is evaluated; 0 stands for the untrained model.
        updates_per_epoch: updates in an epoch of the first objective.
        by_epoch: whether messages count updates within their epoch, and the progress bar starts again in each.
        patience: evaluations without improvement after which training stops early; 0 never stops it.
        updates_per_point: updates that a point of the learning curve averages over.
    """

    updates: frozenset[int]
    updates_per_epoch: int
    by_epoch: bool
    patience: int = 0
    updates_per_point: int = 1

    def place(self, update: int) -> str:
        """Return where in the training an update is, such as `update 2 of epoch 1`."""
        if not self.by_epoch:
            return f"update {update:,}"
        epoch = max(update - 1, 0) // self.updates_per_epoch
        return f"update {update - epoch * self.updates_per_epoch} of epoch {epoch + 1}"

    def end(self, update: int) -> str:
        """Return where a training has ended after its last update."""
        return f"{f'epoch {update // self.updates_per_epoch}' if self.by_epoch else self.place(update)}, the last"


class NotFinite(ArithmeticError):
    """What a model computed in an evaluation is NaN or infinite; the message says which output."""


class Evaluator(abc.ABC):
    """Evaluates a model during training.

    Attributes:
        model: receives the trained weights before every evaluation; float32, or the trained model itself.
        monitor: metric that chooses the best weights.
        schedule: when it is done.
        title: what messages call it.
    """

    model: keras.Model
    monitor: Metric
    schedule: Schedule
    title: str = "evaluation"

    @abc.abstractmethod
    def measure(self, check: Callable[[], None]) -> dict[str, float] | None:
        """Return the scores of the model with its present weights on held-out data; `None` if there are no such data.

        Args:
            check: to be called between batches; raises `Stopped` if a signal asks the process to stop.

        Raises:
            NotFinite: an output is NaN or infinite.
        """

    def log(self, history: Sequence[EvaluationPoint], points: Sequence[dict]) -> None:  # noqa: B027
        """Report an evaluation that has just been done.

        Args:
            history: all evaluations so far.
            points: those of the learning curve since the evaluation before it.
        """

    def should_stop_early(self, history: Sequence[EvaluationPoint]) -> bool:
        """Return whether training should end after an evaluation although it has not run out of patience."""
        return False
