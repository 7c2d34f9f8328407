"""Formatting of numbers and names for reports and logs."""

import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from tfbert.evaluation.drawing import short_number
from tfbert.evaluation.metric import Metric, main_metric

# 1,234, -0.5, 2e-4, 75.4 %, 1.2 s, or no value. Not a date, a house number or a range.
_NUMBER = re.compile(r"([-−+]?\d[\d.,]*(e[-+]?\d+)?( ?(%|s|kB|MB|GB))?|–|)")


def percent(fraction: float | None, digits: int = 1) -> str:
    """Return a fraction as a percentage, such as `92.5 %`; `–` for `None` and NaN."""
    return "–" if fraction is None or math.isnan(fraction) else f"{100 * fraction:.{digits}f} %"


def number(value: float | None) -> str:
    """Return a number such as `12,345`, `0.25` or `2e-4`; `–` for `None`."""
    if value is None:
        return "–"
    if isinstance(value, float | np.floating):
        return short_number(value) if math.isfinite(value) else str(value)
    return f"{value:,}"


def score_line(scores: Mapping[str, float]) -> str:
    """Return scores for a log line, such as `accuracy 0.9180  loss 0.2772`."""
    return "  ".join(f"{name} {value:.4f}" for name, value in scores.items())


def is_number(cell: str) -> bool:
    """Return whether the cell of a table is a number, with or without a unit, or no value."""
    return _NUMBER.fullmatch(cell) is not None


def duration(seconds: float) -> str:
    """Return a duration such as `1.2 s`, `3 min 20 s` or `2 h 05 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def date(seconds: float | None) -> str:
    """Return a time in seconds since 1970 as local date and time; empty for `None`."""
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def size(num_bytes: float) -> str:
    """Return a number of bytes such as `1.4 GB`, in powers of 1,000."""
    for unit in ("bytes", "kB", "MB"):
        if num_bytes < 999.5:
            return f"{num_bytes:.0f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.1f} GB"


def words(name: str) -> str:
    """Return the name of a field as words, such as `num layers`."""
    return str(name).replace("_", " ")


def listed(names: Sequence[str]) -> str:
    """Return names as a list in a sentence, such as `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def epochs_text(epochs: Sequence[int]) -> str:
    """Return epochs in words, such as `epochs 1, 3 and 5` or `epoch 2 and the model before training`.

    Args:
        epochs: 1-based, ascending; 0 means before training.
    """
    trained = [str(epoch) for epoch in epochs if epoch]
    if len(trained) == len(epochs):
        return f"epoch{'s' * (len(trained) > 1)} {listed(trained)}"
    if not trained:
        return "the model before training"
    return f"epoch{'s' * (len(trained) > 1)} {', '.join(trained)} and the model before training"


def kept_weights(report: Mapping[str, Any]) -> str:
    """Return which weights a fine-tuning kept, such as `epoch 3` or `average of epochs 1, 3 and 5`.

    Args:
        report: the content of `report.json`.
    """
    text = epochs_text(kept_epochs(report))
    return f"average of {text}" if report.get("average") else text


def kept_epochs(report: Mapping[str, Any]) -> list[int]:
    """Return the epochs whose weights, or the average of them, a fine-tuning kept; 0 means before training."""
    return report["average"]["epochs"] if report.get("average") else [report["best_epoch"]]


def breakable(label: str) -> Markup:
    """Return an escaped label or path; a long one may wrap after its underscores and slashes."""
    if len(label) <= 16:
        return escape(label)
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[_/])", label))


def summary(report: Mapping[str, Any]) -> str:
    """Return the scores of a report for a terminal, one line per metric.

    Args:
        report: the content of `report.json`.
    """
    split = "test" if report["test"] else "validation"
    scores = report[split]
    if not scores:
        return "no test and no validation split: no scores"
    lines = []
    for name, score in scores["metrics"].items():
        over_seeds = ((report["seeds"] or {}).get(split) or {}).get(name)
        spread = f"   {over_seeds['mean']:.4f} ± {over_seeds['std']:.4f} over seeds" if over_seeds else ""
        lines.append(
            f"{split} {name:12} {score['value']:.4f}  (95% interval {score['low']:.4f} to {score['high']:.4f}){spread}"
        )
    return "\n".join([*lines, *_baseline_lines(report, split)])


def _baseline_lines(report: Mapping[str, Any], split: str) -> list[str]:
    """Return a line for each baseline with its score by the main metric on a split."""
    if not report.get("baselines"):
        return []
    declared = [Metric.from_json(fields) for fields in report["metrics"]]
    measured = [metric for metric in declared if metric.name in report[split]["metrics"]]
    name = main_metric(measured, report["config"]["train"]["monitor"]).name
    known = [(row["title"], row[split][name]) for row in report["baselines"] if name in row.get(split, {})]
    return [f"baseline {name:12} {score:.4f}  {title}" for title, score in known]
