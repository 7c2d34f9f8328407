"""Evaluation during training: its schedule, the monitored metric and early stopping."""

import abc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras

from tfbert.evaluation.metric import Metric
from tfbert.training.progress import Average, EvaluationPoint

# The value of each metric.
Scores = Mapping[str, float]


def improves(metric: Metric, score: float, best: float | None) -> bool:
    """Return whether a score is strictly better than the best so far."""
    return best is None or metric.sign * score > metric.sign * best


def standard_error(metric: Metric, score: float, num_records: int) -> float:
    """Return the approximate standard error of a score; 0 if the unit of the metric does not determine it.

    Args:
        metric: a fraction or a correlation, for an error above 0.
        score: its value.
        num_records: number of records that it was measured on.
    """
    if metric.unit == "fraction":
        return math.sqrt(max(0.0, score * (1 - score)) / num_records)
    return (1 - score**2) / math.sqrt(num_records) if metric.unit == "correlation" else 0.0


def choose(metric: Metric, loss: Metric | None, candidates: Sequence[Scores], num_records: int) -> int:
    """Return the index of the weights to keep, given the scores of several on the same records.

    Those with the best score are kept. Scores that are less than one standard error below it are not distinguishable
    from it, so that among them the lowest loss decides, which is less noisy.

    Args:
        metric: the metric of the score.
        loss: decides between similar scores; `None` if the records have no loss.
        candidates: scores of one or more weights, the preferred ones first.
        num_records: number of records that they were measured on.

    Source: Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3, the one-standard-error rule,
        which chooses the smallest model instead of the one with the lowest loss.
    """
    best = max(candidates, key=lambda scores: metric.sign * scores[metric.name])
    if loss is None:
        return candidates.index(best)
    worst = metric.sign * best[metric.name] - standard_error(metric, best[metric.name], num_records)
    similar = [scores for scores in candidates if metric.sign * scores[metric.name] >= worst]
    return candidates.index(min(similar, key=lambda scores: loss.sign * -scores[loss.name]))


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When a training is evaluated and when it stops early.

    Args:
        updates: values of `Progress.update` at which it is evaluated; 0 means before training.
        updates_per_epoch: number of updates in an epoch of the first objective.
        by_epoch: whether messages count updates within their epoch and each epoch has its own progress bar.
        patience: number of evaluations after which training stops early if neither the score nor the loss has improved;
            0 disables early stopping.
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
        loss: metric that chooses between weights with similar scores; `None` if there is none.
        num_records: number of records that scores are measured on; 0 if unknown.
        schedule: when to evaluate.
        title: name of the evaluation in messages.
        num_averaged: maximum number of best evaluations whose weights are averaged after training, also with those
            before training if they were evaluated; 0 for no average.
        logs: whether messages about the training are logged.
    """

    model: keras.Model
    monitor: Metric
    schedule: Schedule
    loss: Metric | None = None
    num_records: int = 0
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
            num_stale: number of evaluations since the score or the loss improved.
        """

    def should_stop_early(self, history: Sequence[EvaluationPoint]) -> bool:
        """Return whether training should stop after an evaluation although patience has not run out."""
        return False
