"""Results of a measurement of robustness: the effect of each perturbation, and of the worst case."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfbert.evaluation.metric import Metric

# `value`, and the bounds `low` and `high` of its 95% interval; a proportion also has its numerator `count`.
Interval = Mapping[str, float]

# The number of texts that are listed for each perturbation and for the worst case.
NUM_WORST = 5


@dataclass(frozen=True, kw_only=True)
class WorstText:
    """A text whose prediction a perturbation makes worse.

    Args:
        where: the location of the record.
        original: the texts of the record.
        perturbed: its perturbed texts.
        gold: the true value.
        before: the prediction for the original texts.
        after: the prediction for the perturbed texts.
        confidence: the probability of `after`; `None` if the task has none.
        change: the absolute change of a predicted number; `None` for other predictions.
    """

    where: str
    original: Sequence[str]
    perturbed: Sequence[str]
    gold: str
    before: str
    after: str
    confidence: float | None
    change: float | None = None


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The effect of one perturbation on the records that it changes.

    Args:
        perturbation: the name of the perturbation.
        description: what it changes.
        languages: the languages whose texts it applies to.
        num_changed: the number of records that it changes; if 0, the intervals are `None`.
        before: the score of the original records.
        after: the score of the perturbed records.
        difference: `after` minus `before`.
        flips: the fraction of the records whose prediction differs; `None` for predicted numbers.
        change: the mean absolute change of predicted numbers; `None` for other predictions.
        worst: records whose prediction was right and becomes wrong, the most confident first; of predicted numbers,
            those with the largest change.
    """

    perturbation: str
    description: str
    languages: Sequence[str]
    num_changed: int
    before: Interval | None = None
    after: Interval | None = None
    difference: Interval | None = None
    flips: Interval | None = None
    change: Interval | None = None
    worst: Sequence[WorstText] = ()


@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """The result of a search for edits that mislead the model.

    Args:
        num_texts: the number of records that were searched; the predictions for all of them were right.
        success: the fraction of them for which edits make the prediction wrong.
        max_queries: the maximum number of predictions per record.
        mean_queries: the mean number of predictions per record.
        worst: records with a wrong prediction after edits, the most confident first.
    """

    num_texts: int
    success: Interval
    max_queries: int
    mean_queries: float
    worst: Sequence[WorstText]


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """The robustness of a model on labelled records.

    Args:
        metric: the metric of all scores.
        num_examples: the number of records.
        score: the score of the original records.
        effects: the effect of each perturbation.
        always_right: the fraction of the records with a right prediction for the original and every variant; `None` for
            predicted numbers.
        worst_case: the result of the search for misleading edits; `None` if the task has no probability of a label, or
            no prediction is right.
    """

    metric: Metric
    num_examples: int
    score: Interval
    effects: Sequence[Effect]
    always_right: Interval | None
    worst_case: WorstCase | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields, ready for JSON, with the name of the metric."""
        return dataclasses.asdict(self) | {"metric": self.metric.name}
