"""Progress of a training: all state besides weights and optimizer, stored in every checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfbert.evaluation.formatting import epochs_text

Sums = dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class EvaluationPoint:
    """One evaluation during training. Examples, tokens and seconds are totals since training started.

    Args:
        update: number of updates before it.
        epoch: the same in epochs of the first objective; may be fractional.
        num_examples: examples of the first objective.
        num_tokens: tokens without padding, of all objectives that count them.
        seconds: spent on updates.
        loss: mean loss on the training data since the previous evaluation; `None` before the first update.
        learning_rate: learning rate of the next update.
        scores: scores on held-out data by metric; `None` without such data.
        evaluation_seconds: duration of this evaluation.
    """

    update: int
    epoch: float
    num_examples: int
    num_tokens: int
    seconds: float
    loss: float | None
    learning_rate: float
    scores: dict[str, float] | None
    evaluation_seconds: float


@dataclass(frozen=True, kw_only=True)
class Average:
    """The average of the weights of one or more evaluations.

    Args:
        updates: values of `EvaluationPoint.update`, best first; 0, before training, comes last.
        scores: scores of the average on held-out data by metric.
    """

    updates: list[int]
    scores: dict[str, float]

    def epochs(self, history: Sequence[EvaluationPoint]) -> list[int]:
        """Return the 1-based epochs of the evaluations, in order; 0 means before training.

        Args:
            history: all evaluations of the training, each after an epoch.
        """
        return sorted(round(point.epoch) for point in history if point.update in self.updates)

    def describe(self, history: Sequence[EvaluationPoint]) -> str:
        """Return the epochs in words."""
        return epochs_text(self.epochs(history))


@dataclass
class Progress:
    """The state of a training besides weights and optimizer.

    Args:
        update: number of updates so far.
        evaluated_update: value of `update` at the last evaluation; -1 before the first.
        num_examples: examples of the first objective so far.
        num_tokens: tokens without padding so far, of all objectives that count them.
        seconds: time spent on updates, before and after resuming.
        sums: losses of each objective summed since the last evaluation.
        counts: denominators of `sums`.
        point_sums: losses summed since the last point of the curve.
        point_counts: denominators of `point_sums`.
        curve: one dict per point of the learning curve: `update`, `learning_rate` and the mean losses of the objective.
            With several objectives, the weighted `loss` and the mean losses of each as `<objective>/<loss>`.
        history: the evaluations so far.
        best_score: best value of the monitored metric; `None` before the first evaluation.
        best_update: value of `update` at the evaluation that kept the best weights.
        start_seconds: time spent before the first update on building models and initializing the head.
        first_update_at: end of the first update in seconds since 1970; `None` before.
        average: the average of several evaluations, if its weights were kept as the best.
        ended: whether all updates are done, or training stopped early.
        finished: whether, after that, the best weights are final.
    """

    update: int = 0
    evaluated_update: int = -1
    num_examples: int = 0
    num_tokens: int = 0
    seconds: float = 0.0
    sums: Sums = field(default_factory=dict)
    counts: Sums = field(default_factory=dict)
    point_sums: Sums = field(default_factory=dict)
    point_counts: Sums = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    history: list[EvaluationPoint] = field(default_factory=list)
    best_score: float | None = None
    best_update: int = 0
    start_seconds: float = 0.0
    first_update_at: float | None = None
    average: Average | None = None
    ended: bool = False
    finished: bool = False

    @property
    def best(self) -> EvaluationPoint:
        """The evaluation that kept the best weights."""
        return next(point for point in self.history if point.update == self.best_update)

    def to_dict(self) -> dict[str, Any]:
        """Return the progress, ready for JSON."""
        average = None if self.average is None else vars(self.average)
        return {**vars(self), "history": [vars(point) for point in self.history], "average": average}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Progress":
        """Return the progress from the result of `to_dict`."""
        average = values["average"]
        parsed = {"history": [EvaluationPoint(**point) for point in values["history"]]}
        parsed["average"] = None if average is None else Average(**average)
        return cls(**{**values, **parsed})


def add(totals: Sums, more: Mapping[str, Mapping[str, float]]) -> None:
    """Add the values of each objective to its totals."""
    for name, values in more.items():
        sums = totals.setdefault(name, {})
        for term, value in values.items():
            sums[term] = sums.get(term, 0.0) + value
