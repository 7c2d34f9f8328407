"""Evaluation during training: its schedule, the monitored metric and early stopping."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras

from tfbert.evaluation.metric import Metric
from tfbert.training.progress import Average, EvaluationPoint


def improves(metric: Metric, score: float, best: float | None) -> bool:
    """Return whether a score is strictly better than the best so far."""
    return best is None or metric.sign * score > metric.sign * best


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When a training is evaluated and when it stops early.

    Args:
        updates: values of `Progress.update` at which it is evaluated; 0 means before training.
        updates_per_epoch: number of updates in an epoch of the first objective.
        by_epoch: whether messages count updates within their epoch and each epoch has its own progress bar.
        patience: number of evaluations without improvement after which training stops early; 0 disables early stopping.
        updates_per_point: number of updates that a point of the learning curve averages.
    """

    updates: frozenset[int]
    updates_per_epoch: int
    by_epoch: bool
    patience: int = 0
    updates_per_point: int = 1

    def place(self, update: int) -> str:
        """Return the position of an update in training, such as `update 2 of epoch 1`."""
        if not self.by_epoch:
            return f"update {update:,}"
        epoch = max(update - 1, 0) // self.updates_per_epoch
        return f"update {update - epoch * self.updates_per_epoch} of epoch {epoch + 1}"

    def end(self, update: int) -> str:
        """Return the position of the last update of a training."""
        return f"{f'epoch {update // self.updates_per_epoch}' if self.by_epoch else self.place(update)}, the last"


class NotFinite(ArithmeticError):
    """An output of the evaluated model is NaN or infinite; the message says which one."""


class Evaluator(abc.ABC):
    """Evaluates a model during training.

    Attributes:
        model: receives the trained weights before every evaluation; float32, or the trained model itself.
        monitor: metric that chooses the best weights.
        schedule: when to evaluate.
        title: name of the evaluation in messages.
        num_averaged: maximum number of best evaluations whose weights are averaged after training; 0 for no average.
        logs: whether messages about the training are logged.
    """

    model: keras.Model
    monitor: Metric
    schedule: Schedule
    title: str = "evaluation"
    num_averaged: int = 0
    logs: bool = True

    @abc.abstractmethod
    def measure(self, check: Callable[[], None]) -> dict[str, float] | None:
        """Return the scores of the model's present weights on held-out data; `None` without such data.

        Args:
            check: to be called between batches; raises `Stopped` after a signal.

        Raises:
            NotFinite: an output is NaN or infinite.
        """

    def log(self, history: Sequence[EvaluationPoint], points: Sequence[dict]) -> None:  # noqa: B027
        """Report the latest evaluation.

        Args:
            history: all evaluations so far.
            points: points of the learning curve since the previous evaluation.
        """

    def log_average(self, history: Sequence[EvaluationPoint], average: Average) -> None:  # noqa: B027
        """Report that the average of several evaluations is kept.

        Args:
            history: all evaluations.
            average: the average that is kept.
        """

    def log_early_stop(self, history: Sequence[EvaluationPoint], num_stale: int) -> None:  # noqa: B027
        """Report that training has stopped early.

        Args:
            history: all evaluations.
            num_stale: number of evaluations since the best one.
        """

    def should_stop_early(self, history: Sequence[EvaluationPoint]) -> bool:
        """Return whether training should stop after an evaluation although patience has not run out."""
        return False
