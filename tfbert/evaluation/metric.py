"""What a metric is called and which direction is better, and what an evaluation of predictions offers."""

import abc
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Metric:
    """A measure of how good predictions are.

    Args:
        name: the key in reports and in `train.monitor`, lower case with underscores.
        better: the direction in which the metric improves.
        unit: `fraction` from 0 to 1, shown as a percentage; `correlation` from -1 to 1; `nats`; `count`; `target`, the
            unit of the values that are predicted; or `variance`, the variance of these values in train.
        description: what the metric measures, in a few words.
        every_epoch: whether it is measured after every epoch, so that it can choose the best one, and not only in the
            report.
    """

    name: str
    better: Better
    unit: Literal["fraction", "correlation", "nats", "count", "target", "variance"]
    description: str
    every_epoch: bool = True

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is better."""
        return 1 if self.better == "higher" else -1

    @property
    def meaning(self) -> str:
        """The description, with the direction where it is not the usual one."""
        return f"{self.description}; lower is better" if self.better == "lower" else self.description

    def format(self, value: float | None) -> str:
        """Return a value for a reader: a fraction as a percentage, anything else with three decimals; `–` for none."""
        if value is None or math.isnan(value):
            return "–"
        return f"{100 * value:.1f} %" if self.unit == "fraction" else f"{value:.3f}"

    def to_json(self) -> dict[str, str | bool]:
        """Return the fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, str | bool]) -> "Metric":
        """Return the metric that `to_json` described."""
        return cls(**fields)


class Evaluation(abc.ABC):
    """Predictions for the records of one split, compared with the truth."""

    @abc.abstractmethod
    def values(self) -> dict[str, float]:
        """Return the metrics without intervals, by name. This runs after every epoch."""

    @abc.abstractmethod
    def intervals(self) -> dict[str, dict[str, float]]:
        """Return the metrics of the report by name, each with `value` and the 95 % bounds `low` and `high`."""

    def per_label(self) -> dict[str, dict]:
        """Return the scores of each label, by its name; empty for tasks without labels."""
        return {}

    @abc.abstractmethod
    def sections(self) -> dict:
        """Return what the report page draws beyond the scores.

        The keys are those that `report_page.render` documents, with `worst`: index of a record to the `label`,
        `predicted`, `probability` and `label_probability` of a mistake, worst first.
        """

    def scores(self) -> dict:
        """Return `metrics` and `per_label` as `report.json` holds them."""
        return {"metrics": self.intervals(), "per_label": self.per_label()}
