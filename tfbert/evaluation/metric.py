"""Declaration of metrics (name, direction, unit), and the interface of an evaluation of predictions."""

import abc
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

# From indices of records, with repetitions, to the value of a metric on these records.
ScoreFunction = Callable[[np.ndarray], float]
Better = Literal["higher", "lower"]
# Stands for a missing label in `Outcome.confused`.
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
        forecast: continues "Expect" in the report if the metric at its top has no expectation; `{}` stands for the
            score, such as "about 56 of 100" for a fraction. Several metrics may have one.
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
    forecast: str = ""
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

    def format_interval(self, low: float | None, high: float | None, with_unit: bool = True) -> str:
        """Format an interval, such as `91.0 to 94.0 %`; empty if a bound is missing.

        Args:
            low: the lower bound.
            high: the upper bound.
            with_unit: whether a percentage ends with its sign; without it in a table whose values have one.
        """
        if low is None or high is None:
            return ""
        return f"{self._bare(low)} to {self.format(high) if with_unit else self._bare(high)}"

    def format_spread(self, mean: float, std: float, with_unit: bool = True) -> str:
        """Format a mean and a standard deviation, such as `92.4 ± 0.3 %`.

        Args:
            mean: the mean.
            std: the standard deviation.
            with_unit: as for `format_interval`.
        """
        return f"{self._bare(mean)} ± {self.format(std) if with_unit else self._bare(std)}"

    def _bare(self, value: float) -> str:
        return self.format(value).removesuffix(" %")

    def format_difference(self, value: float, sign: Literal["-", "+"] = "-") -> str:
        """Format a difference of two values, such as `3.1 points`.

        Args:
            value: the difference.
            sign: `+` for a sign before positive differences too.
        """
        if self.unit == "fraction":
            return f"{100 * value:{sign}.1f} points"
        return f"{value:{sign}.3f}"

    def format_difference_interval(self, low: float, high: float) -> str:
        """Format the interval of a difference without its unit, such as `0.5 to 5.7`."""
        low, high = (self.format_difference(bound).removesuffix(" points") for bound in (low, high))
        return f"{low} to {high}"

    def to_json(self) -> dict[str, str | bool]:
        """Return the fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, str | bool]) -> "Metric":
        """Return the metric with the fields that `to_json` returned."""
        return cls(**fields)


def main_metric(metrics: Iterable[Metric], monitor: str | None) -> Metric:
    """Return the metric at the top of reports and comparisons.

    Args:
        metrics: one or more metrics, which were measured for the report.
        monitor: the name of the metric that the user chose to select the best epoch; `None` for the default.

    Returns:
        The first metric with an expectation, else the chosen one, else the first one for which higher is better.
    """
    metrics = list(metrics)
    expected = [metric for metric in metrics if metric.expectation]
    chosen = [metric for metric in metrics if metric.name == monitor]
    gains = [metric for metric in metrics if metric.better == "higher"]
    return (expected + chosen + gains + metrics)[0]


@dataclass(frozen=True)
class LabelledSpan:
    """A part of a text, to be highlighted in it.

    Args:
        start: the index of the first Unicode character.
        end: the end, exclusive.
        label: the label of the span; may be empty.
    """

    start: int
    end: int
    label: str = ""


@dataclass(frozen=True)
class Outcome:
    """The true and the predicted value of one record, for a reader.

    Args:
        gold: the true value.
        predicted: the prediction.
        confidence: the probability of the prediction; `None` if the task has none.
        gold_spans: the true value in the last input of the record; empty for tasks without spans.
        predicted_spans: the prediction in the last input of the record.
        gold_probability: the probability of the true value.
        confused: the pairs of a true and a predicted label by which the record is found on a page, `NONE` for a missing
            one. The two may be equal, as for a span in the wrong place.
        note: further details, in a few words.
    """

    gold: str
    predicted: str
    confidence: float | None = None
    gold_spans: tuple[LabelledSpan, ...] = ()
    predicted_spans: tuple[LabelledSpan, ...] = ()
    gold_probability: float | None = None
    confused: tuple[tuple[str, str], ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Baseline:
    """The scores of a system that a trained model should beat.

    Args:
        title: what the system does, in a few words.
        scores: value by name of the metric.
    """

    title: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Confidences:
    """The confidence of predictions, and whether they are right.

    Args:
        probabilities: float `(predictions,)`.
        is_right: bool `(predictions,)`.
    """

    probabilities: np.ndarray
    is_right: np.ndarray


class Evaluation(abc.ABC):
    """Predictions for the records of one split, compared with the ground truth."""

    @abc.abstractmethod
    def values(self) -> dict[str, float]:
        """Return the metrics that are measured after every epoch, by name, without intervals."""

    @abc.abstractmethod
    def intervals(self) -> dict[str, dict[str, float]]:
        """Return the metrics of the report by name, each with `value` and the 95% bounds `low` and `high`."""

    @abc.abstractmethod
    def score_functions(self) -> dict[str, ScoreFunction]:
        """Return a function for each metric, by name, that computes it on resampled records."""

    @abc.abstractmethod
    def record_scores(self) -> np.ndarray:
        """Return how good the prediction for each record is, float64 `(records,)`: 1 if right, lower if worse."""

    @abc.abstractmethod
    def outcome(self, record: int) -> Outcome:
        """Return the true and the predicted value of a record, given by its index."""

    def point_scores(self) -> dict[str, float]:
        """Return the metrics of the report by name, without intervals."""
        functions = self.score_functions()
        records = np.arange(len(self.record_scores()))
        return {name: function(records) for name, function in functions.items()}

    def confidences(self) -> Confidences | None:
        """Return the confidence of every prediction; `None` for tasks without probabilities, the default."""
        return None

    def per_label(self) -> dict[str, dict]:
        """Return the scores of each label, by its name; empty for tasks without labels."""
        return {}

    @abc.abstractmethod
    def sections(self) -> dict:
        """Return the details for the report page, under the keys that `report_page.render` documents."""

    def mistakes(self) -> list[int]:
        """Return the indices of the records that were predicted wrong, worst first; empty if that is undefined."""
        return []

    def scores(self) -> dict:
        """Return `metrics` and `per_label` as `report.json` holds them."""
        return {"metrics": self.intervals(), "per_label": self.per_label()}
