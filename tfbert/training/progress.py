"""What a training remembers besides its weights and its optimizer's state; stored in every checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Sums = dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class EvaluationPoint:
    """One evaluation during training. Numbers of examples, tokens and seconds are totals since training began.

    Args:
        update: updates done before it.
        epoch: the same as a fraction of the first objective's epochs.
        num_examples: examples of the first objective.
        num_tokens: tokens of all objectives that count them, padding excluded.
        seconds: spent on updates.
        loss: mean loss on the training data since the previous evaluation; `None` before the first update.
        learning_rate: of the next update.
        scores: metrics on held-out data; `None` if there are none.
        evaluation_seconds: spent on this evaluation.
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


@dataclass
class Progress:
    """The state of a training as plain numbers.

    Args:
        update: updates done.
        evaluated_update: value of `update` at the last evaluation; -1 before the first.
        num_examples: examples of the first objective so far.
        num_tokens: tokens so far, padding excluded, of the objectives that count them.
        seconds: spent on updates, over all processes that the training ran in.
        sums: losses of each objective summed since the last evaluation, `counts` their denominators.
        point_sums: the same since the last point of the curve, with `point_counts`.
        curve: one dict per point of the learning curve: `update`, `learning_rate` and the mean losses of the objective;
            of several, the weighted `loss` and the mean losses of each as `<objective>/<loss>`.
        history: one entry per evaluation.
        best_score: best value of the monitored metric; `None` before the first one.
        best_update: value of `update` when the best weights were kept.
        start_seconds: spent before the first update on building models and initializing the head.
        first_update_at: when the first update was done, in seconds since 1970; `None` before.
        finished: whether training has ended.
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
    finished: bool = False

    @property
    def best(self) -> EvaluationPoint:
        """The evaluation after which the best weights were kept."""
        return next(point for point in self.history if point.update == self.best_update)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        return {**vars(self), "history": [vars(point) for point in self.history]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Progress":
        """Return what `to_dict` was called on."""
        return cls(**{**values, "history": [EvaluationPoint(**point) for point in values["history"]]})


def add(totals: Sums, more: Mapping[str, Mapping[str, float]]) -> None:
    """Add the values of each objective to its totals."""
    for name, values in more.items():
        mine = totals.setdefault(name, {})
        for term, value in values.items():
            mine[term] = mine.get(term, 0.0) + value
