"""Metrics (name, direction, unit), and the interface of an evaluation of predictions, with its mistakes."""

import abc
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from tfbert.text.spans import Span

Better = Literal["higher", "lower"]
# Stands for a missing label in `Mistake.groups`.
NONE = "(none)"


@dataclass(frozen=True)
class Metric:
    """A measure of how good predictions are.

    Args:
        name: the key in reports and in `train.monitor`, lower case with underscores.
        better: the direction in which the metric improves.
        unit: `fraction` from 0 to 1, shown as a percentage; `correlation` from -1 to 1; `nats`; `count`; `target`, the
            unit of the predicted values; or `variance`, the variance of the training values.
        description: what the metric measures, in a few words.
        every_epoch: whether it is measured after every epoch, so that it can determine the best one; otherwise it is
            only measured for the report.
        title: the name in reports; without one, the name with spaces.
        expectation: continues "Expect about 76 of 100 similar" in the report, such as "texts to get the right label".
            The report shows a metric with an expectation at its top, otherwise the metric that chose the best epoch.
        is_label_mean: whether it is a mean over labels, in which rare labels count as much as common ones. The report
            points it out where it is far below the metric at the top.
    """

    name: str
    better: Better
    unit: Literal["fraction", "correlation", "nats", "count", "target", "variance"]
    description: str
    every_epoch: bool = True
    title: str = ""
    expectation: str = ""
    is_label_mean: bool = False

    def __post_init__(self):
        if not self.title:
            object.__setattr__(self, "title", self.name.replace("_", " "))

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is better."""
        return 1 if self.better == "higher" else -1

    @property
    def meaning(self) -> str:
        """The description, followed by the direction if lower is better."""
        return f"{self.description}; lower is better" if self.better == "lower" else self.description

    def format(self, value: float | None) -> str:
        """Format a value: a fraction as a percentage, anything else with three decimals; `–` for `None` and NaN."""
        if value is None or math.isnan(value):
            return "–"
        return f"{100 * value:.1f} %" if self.unit == "fraction" else f"{value:.3f}"

    def to_json(self) -> dict[str, str | bool]:
        """Return the fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, str | bool]) -> "Metric":
        """Return the metric with the fields that `to_json` returned."""
        return cls(**fields)


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A record that was predicted wrong, as the report shows it.

    Args:
        label: the true label or labels as text.
        predicted: the predicted ones.
        probability: the probability of the prediction; `None` if there is none.
        label_probability: the probability of the true label.
        groups: the pairs of a true and a predicted label that were confused, `NONE` for a missing one.
        true_spans: the true intervals of the text; for tasks that find spans.
        predicted_spans: the predicted intervals.
        span_text: index of the record's text that the intervals refer to.
    """

    label: str
    predicted: str
    probability: float | None = None
    label_probability: float | None = None
    groups: tuple[tuple[str, str], ...] = ()
    true_spans: tuple[Span, ...] = ()
    predicted_spans: tuple[Span, ...] = ()
    span_text: int = 0


class Evaluation(abc.ABC):
    """Predictions for the records of one split, compared with the ground truth."""

    @abc.abstractmethod
    def values(self) -> dict[str, float]:
        """Return the metrics that are measured after every epoch, by name, without intervals."""

    @abc.abstractmethod
    def intervals(self) -> dict[str, dict[str, float]]:
        """Return the metrics of the report by name, each with `value` and the 95 % bounds `low` and `high`."""

    def per_label(self) -> dict[str, dict]:
        """Return the scores of each label, by its name; empty for tasks without labels."""
        return {}

    @abc.abstractmethod
    def sections(self) -> dict:
        """Return the details for the report page, under the keys that `report_page.render` documents."""

    def mistakes(self) -> dict[int, Mistake]:
        """Return all mistakes by the index of their record, worst first; empty for tasks without mistakes."""
        return {}

    def scores(self) -> dict:
        """Return `metrics` and `per_label` as `report.json` holds them."""
        return {"metrics": self.intervals(), "per_label": self.per_label()}
