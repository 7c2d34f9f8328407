"""The top of the report page: the score, baselines, a verdict, warnings and a summary of the run."""

import math
from collections.abc import Mapping
from typing import Any

from tfbert.evaluation.formatting import date, kept_weights, number, percent, words
from tfbert.evaluation.metric import Metric, main_metric
from tfbert.evaluation.page_parts import summary_view

_FEW_EXAMPLES = 300
# With fewer examples, counts per 1,000 would be more precise than the score.
_MANY_EXAMPLES = 1000
_ADVICE = "A lower train.learning_rate or more examples may help."
# Smaller differences between the mean probability and the accuracy are not worth a sentence.
_MIN_MISCALIBRATION = 0.03
# A difference with a higher p-value is called chance.
_MAX_P_VALUE = 0.05
# A smaller relative increase of the validation loss is no overfitting.
_MIN_LOSS_INCREASE = 0.1


def headline(report: dict, details: dict, metrics: Mapping[str, Metric]) -> dict:
    """Return the top of the page.

    Args:
        report: the content of `report.json`.
        details: as for `report_page.render`.
        metrics: the declared metrics by name.
    """
    split = next((name for name in ("test", "validation") if (report.get(name) or {}).get("metrics")), None)
    config, encoder, seeds = (report.get(key) or {} for key in ("config", "encoder", "seeds"))
    encoder_name = encoder.get("name", "?")
    data, history = report.get("data") or {}, report.get("history") or []
    checks = report.get("checks") or {}
    warnings = [str(line) for line in checks.get("warnings", [])]
    # Reports of earlier versions do not distinguish the warnings that concern the score.
    score_warnings = [str(line) for line in checks.get("score_warnings", warnings)]
    view = {"title": run_title(report), "run": report.get("run"), "split": split, "baselines": [], "verdict": ""}
    view |= {"score_warnings": score_warnings, "num_warnings": len(warnings)}
    view |= {"score": "no score", "metric": None, "notes": [], "sentence": None, "seeds": None}
    if split:
        scores = report[split]["metrics"]
        name = main_metric((metrics[name] for name in scores), (config.get("train") or {}).get("monitor")).name
        view |= _score_view(metrics[name], metrics, scores, split, report[split].get("num_examples"))
        over_seeds = (seeds.get(split) or {}).get(name)
        if over_seeds:
            view["seeds"] = (
                f"Over {seeds['count']} seeds: {metrics[name].format_spread(over_seeds['mean'], over_seeds['std'])}"
            )
        view["baselines"] = [
            (row["title"], metrics[name].format(score)) for row, score in _baselines(report, split, name)
        ]
        view["verdict"] = " ".join(verdict(report, details, metrics, name, split))
        if is_unchanged(report):
            monitor = monitor_name(report) or name
            view["notes"] = [*view["notes"], f"{progress_sentence(report, metrics[monitor])} {_ADVICE}"]
    if report.get("adaptation"):
        view["notes"] = [report["adaptation"]["sentence"], *view["notes"]]
    counts = [f"{number(row['num_examples'])} {name}" for name, row in data.items() if row]
    per_label = (report.get(split) or {}).get("per_label")
    lines = [
        ("Date", date(report.get("first_update_at"))),
        ("Examples", ", ".join(counts)),
        ("Labels", number(len(per_label)) if per_label else ""),
    ]
    if history:
        lines += [("Epochs", f"{len(history)}"), ("Kept weights", kept_weights(report))]
    return view | {"summary": summary_view(encoder_name, lines, report)}


def run_title(report: Mapping) -> str:
    """Return the task, the data and the encoder of a report, such as `classification of banking77 with minilm`."""
    # Data in memory is named after the task.
    data_name = report.get("data_name") if report.get("data_name") != report["task"] else ""
    encoder_name = (report.get("encoder") or {}).get("name", "?")
    return f"{words(report['task'])}{f' of {data_name}' if data_name else ''} with {encoder_name}"


def monitor_name(report: Mapping) -> str | None:
    """Return the metric that chose the weights; `None` if it is the default one and the report does not name it."""
    chosen = ((report.get("config") or {}).get("train") or {}).get("monitor")
    return chosen or (report.get("resolved") or {}).get("train.monitor")


def is_unchanged(report: Mapping) -> bool:
    """Return whether the model before training was kept, because no epoch was clearly better."""
    return bool(report.get("untrained")) and not report.get("best_epoch") and not report.get("average")


def progress_sentence(report: Mapping, metric: Metric) -> str:
    """Return what training changed on validation; empty if the model before training was not evaluated."""
    if (report.get("untrained") or {}).get(metric.name) is None:
        return ""
    before = report["untrained"][metric.name]
    start = f"On validation, {metric.title} was {metric.format(before)} before training"
    if is_unchanged(report):
        return f"{start} and no epoch was clearly better, so the encoder was kept unchanged."
    kept = report.get("average") or report["history"][report["best_epoch"] - 1]
    score, weights = kept["validation"][metric.name], kept_weights(report)
    after = f"with the {weights}" if report.get("average") else f"after {weights}"
    return f"{start} and {metric.format(score)} {after}{_reason(metric, score, before)}."


def _reason(metric: Metric, score: float, before: float) -> str:
    """Return why weights were kept although the score before training was better."""
    if metric.sign * (score - before) >= 0:
        return ""
    return ", which were kept for their lower loss, because the difference is less than one standard error"


def verdict(report: Mapping, details: Mapping, metrics: Mapping[str, Metric], name: str, split: str) -> list[str]:
    """Return up to three sentences about what matters most: a gain or none, overfitting, miscalibration.

    Args:
        report: the content of `report.json`.
        details: as for `report_page.render`.
        metrics: the declared metrics by name.
        name: the main metric.
        split: the split that the score is of.
    """
    sentences = (
        _against_constant(report, metrics[name], split),
        _gain(report, metrics),
        _overfitting(report),
        _miscalibration(details),
    )
    return [sentence for sentence in sentences if sentence][:3]


def difference_text(metric: Metric, value: float, low: float, high: float, signed: bool = True) -> str:
    """Return the difference of two scores with its interval, such as `+3.1 points (95% interval 0.5 to 5.7)`."""
    shown = metric.format_difference(value, "+") if signed else metric.format_difference(abs(value))
    return f"{shown} (95% interval {metric.format_difference_interval(low, high)})"


def _baselines(report: Mapping, split: str, name: str) -> list[tuple[dict, float]]:
    """Return the baselines that have a score of a metric on a split, and this score."""
    rows = [(row, (row.get(split) or {}).get(name)) for row in report.get("baselines") or []]
    return [(row, score) for row, score in rows if score is not None]


def _against_constant(report: Mapping, metric: Metric, split: str) -> str | None:
    """Return a warning if the score is not clearly above that of a constant prediction."""
    score = interval_of(report[split]["metrics"][metric.name])
    worst_case = score["low" if metric.better == "higher" else "high"]
    for row, constant in _baselines(report, split, metric.name):
        if row["name"] == "constant" and worst_case is not None and metric.sign * (worst_case - constant) <= 0:
            return f"The model is not measurably better than {row['title']} ({metric.format(constant)})."
    return None


def _gain(report: Mapping, metrics: Mapping[str, Metric]) -> str | None:
    """Return the gain over the model before training, if it is known."""
    gain = report.get("gain")
    if not gain:
        return None
    # Reports of earlier versions do not have the number of records that differ.
    if gain.get("num_differing") == 0 and gain["low"] == gain["high"] == 0:
        return f"Fine-tuning made no prediction on the {gain['split']} split better or worse."
    metric = metrics[gain["metric"]]
    title = next(row["title"] for row in report["baselines"] if row["name"] == "untrained")
    low, high = sorted(metric.sign * gain[bound] for bound in ("low", "high"))
    value = metric.sign * gain["difference"]
    is_chance = gain["p_value"] > _MAX_P_VALUE
    if low > 0 and not is_chance:
        shown = difference_text(metric, value, low, high, signed=False)
        return f"Fine-tuning improved {metric.title} over the {title} by {shown}."
    if high < 0 and not is_chance:
        shown = difference_text(metric, value, -high, -low, signed=False)
        return f"Fine-tuning made {metric.title} worse than that of the {title} by {shown}. {_ADVICE}"
    shown = difference_text(metric, value, low, high)
    return f"Fine-tuning is not measurably better than the {title}: the difference of {shown} may be chance."


def _overfitting(report: Mapping) -> str | None:
    """Return a sentence if validation loss rose again while training loss fell."""
    rows = [row for row in report.get("history") or [] if (row.get("validation") or {}).get("loss") is not None]
    if not rows:
        return None
    best, last = min(rows, key=lambda row: row["validation"]["loss"]), rows[-1]
    before, after = best["validation"]["loss"], last["validation"]["loss"]
    if after < (1 + _MIN_LOSS_INCREASE) * before or last["loss"] >= best["loss"]:
        return None
    return (
        f"Overfitting after epoch {best['epoch']}: validation loss rose from {before:.3f} to {after:.3f} while "
        "training loss fell; the best weights were kept."
    )


def _miscalibration(details: Mapping) -> str | None:
    """Return a sentence if probabilities are clearly too high or too low on average."""
    mean = mean_probability(details)
    if mean is None:
        return None
    probability, accuracy, num_examples = mean
    difference = probability - accuracy
    error = math.sqrt(accuracy * (1 - accuracy) / num_examples)
    if abs(difference) < max(_MIN_MISCALIBRATION, 2 * error):
        return None
    direction = "high" if difference > 0 else "low"
    return (
        f"Probabilities are {100 * abs(difference):.0f} points too {direction} on average: their mean is "
        f"{percent(probability)}, and {percent(accuracy)} of the predictions are right."
    )


def mean_probability(details: Mapping) -> tuple[float, float, int] | None:
    """Return the mean probability of the predictions, their accuracy and their number; `None` without predictions."""
    bins = [row for row in (details.get("reliability") or {}).get("bins", []) if row["num_examples"]]
    num_examples = sum(row["num_examples"] for row in bins)
    if not bins:
        return None
    means = [
        sum(row["num_examples"] * row[key] for row in bins) / num_examples for key in ("mean_probability", "accuracy")
    ]
    return means[0], means[1], num_examples


def _score_view(
    declared: Metric, metrics: Mapping[str, Metric], scores: Mapping, split: str, num_examples: int | None
) -> dict:
    """Return the score of the headline, its interval, a sentence that explains it, and notes on its reliability."""
    metric, notes = interval_of(scores[declared.name]), []
    view = {"metric": declared.title, "score": declared.format(metric["value"])}
    view["interval"] = declared.format_interval(metric["low"], metric["high"])
    view["sentence"] = _expectation(declared, metrics, scores, num_examples or 0)
    if split == "validation":
        notes.append(
            "There is no test split. This is the score on the validation split, which also chose the best epoch, "
            "so it is probably slightly too high."
        )
    if num_examples is not None and num_examples < _FEW_EXAMPLES:
        examples = "example" if num_examples == 1 else "examples"
        notes.append(
            f"The {split} split has only {number(num_examples)} {examples}, so the score is imprecise: "
            f"do not choose between models whose scores differ by less than the interval."
        )
    for mean in (metrics[name] for name in scores if metrics[name].is_label_mean and declared.expectation):
        value = interval_of(scores[mean.name])["value"]
        if value is not None and metric["value"] is not None and value < metric["value"] - 0.05:
            shown = f"{mean.title} is {mean.format(value)}"
            notes.append(f"Some labels score much lower than the average: {shown}. See Labels below.")
    return view | {"notes": notes, "num_examples": num_examples}


def _expectation(declared: Metric, metrics: Mapping[str, Metric], scores: Mapping, num_examples: int) -> str | None:
    """Return what to expect of similar texts, in one sentence; `None` if no metric says.

    Args:
        declared: the metric at the top.
        metrics: the declared metrics by name.
        scores: the scores by name.
        num_examples: number of examples of the scores.
    """
    score = interval_of(scores[declared.name])
    if declared.expectation and score["value"] is not None:
        base = _base(score["value"], num_examples)
        value, low, high = (_count(score[key] or 0.0, base) for key in ("value", "low", "high"))
        has_interval = score["low"] is not None and score["high"] is not None
        interval = f" (95% interval {low} to {high})" if has_interval else ""
        return f"Expect about {value} of {base:,} similar {declared.expectation}{interval}."
    values = [(metrics[name], interval_of(scores[name])["value"]) for name in scores if metrics[name].forecast]
    forecasts = [
        metric.forecast.format(_in_words(metric, value, num_examples)) for metric, value in values if value is not None
    ]
    return f"Expect {', and '.join(forecasts)}." if forecasts and not declared.expectation else None


def _in_words(metric: Metric, value: float, num_examples: int) -> str:
    """Return a score as words in a sentence: `about 56 of 100` for a fraction."""
    if metric.unit != "fraction":
        return number(float(value))
    base = _base(value, num_examples)
    return f"about {_count(value, base)} of {base:,}"


def _base(fraction: float, num_examples: int) -> int:
    """Return 1,000 for a fraction near 0 or 1 of many examples, so that 99.6 % is not shown as 100 of 100; else 100."""
    return 1000 if num_examples >= _MANY_EXAMPLES and not 0.015 < fraction < 0.985 else 100


def _count(fraction: float, base: int) -> str:
    return f"{math.floor(base * fraction + 0.5):,}"


def interval_of(metric: Any) -> dict:
    """Return a score of the report, a number or a dict, as `value`, `low` and `high`."""
    if not isinstance(metric, Mapping):
        metric = {"value": metric}
    return {key: metric.get(key) for key in ("value", "low", "high")}
