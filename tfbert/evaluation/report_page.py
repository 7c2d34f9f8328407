"""The report page `report.html` of a task, written from `report.json` and further details."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from tfbert.evaluation import plots, text_table
from tfbert.evaluation.formatting import duration, number, percent, words
from tfbert.evaluation.metric import LabelledSpan, Metric, main_metric
from tfbert.evaluation.page_parts import Column, history_table, score_columns, summary_view, write_page
from tfbert.evaluation.text_table import Labelling, TextRow

_SECTIONS = {
    "curves": "Learning curves",
    "metrics": "Metrics",
    "checks": "Data",
    "labels": "Labels",
    "confusions": "Confusions",
    "findings": "Details",
    "calibration": "Calibration",
    "lengths": "Lengths",
    "mistakes": "Mistakes",
    "cost": "Time and memory",
    "repeat": "Repeat this run",
}
_FEW_EXAMPLES = 300
_WORST_LABELS, _MAX_PAIRS, _MAX_MATRIX, _REDUCED_MATRIX = 20, 25, 30, 20
_SOURCES = ("true", "predicted")


def render(report: dict, details: dict, path: Path) -> None:
    """Write the report of a run as one self-contained HTML file.

    Args:
        report: the content of `report.json`; splits that were not scored are `None` or absent.
        details: what is too large for `report.json`; sections without their keys are omitted. `labels`; `split`, which
            the other details describe; `confusion`, int `(labels, labels)` with true labels in rows; `step_losses`,
            (step, loss) pairs; `reliability`; `lengths`, int `(texts,)` by split, in tokens including special tokens;
            `sequence_length`; `mistakes`, worst first; and the task's own `figures` (`title`, `svg`, `caption`) and
            `tables` (`title`, `columns`, `rows` of cells, `caption`).
        path: the file to write; an existing file is replaced.
    """
    metrics = _metrics_of(report)
    split = details.get("split") or ("test" if report.get("test") else "validation")
    views = {
        "curves": _curves(report, details, metrics),
        "metrics": _scores(report, metrics),
        "checks": _checks(report),
        "labels": _labels(report, split),
        "confusions": _confusions(details),
        "findings": _findings(details),
        "calibration": _calibration(details),
        "lengths": _lengths(details),
        "mistakes": _mistakes(details),
    }
    write_page("page.html.jinja", path, _SECTIONS, report, headline=_headline(report, metrics), split=split, **views)


def _metrics_of(report: dict) -> dict[str, Metric]:
    """Return the metrics that a report declares by name."""
    return {fields["name"]: Metric.from_json(fields) for fields in report.get("metrics") or []}


def _interval(metric: Any) -> dict:
    """Return a score of the report, a number or a dict, as `value`, `low` and `high`."""
    if not isinstance(metric, Mapping):
        metric = {"value": metric}
    return {key: metric.get(key) for key in ("value", "low", "high")}


def _headline(report: dict, metrics: Mapping[str, Metric]) -> dict:
    """Return the top of the page: the score, a sentence about it, warnings and a summary of the run."""
    split = next((name for name in ("test", "validation") if (report.get(name) or {}).get("metrics")), None)
    config, encoder, seeds = (report.get(key) or {} for key in ("config", "encoder", "seeds"))
    encoder_name = encoder.get("name", "?")
    data, history = report.get("data") or {}, report.get("history") or []
    checks = report.get("checks") or {}
    warnings = [str(line) for line in checks.get("warnings", [])]
    # Reports of earlier versions do not distinguish the warnings that concern the score.
    score_warnings = [str(line) for line in checks.get("score_warnings", warnings)]
    view = {"title": f"{words(report['task'])} with {encoder_name}", "split": split}
    view |= {"score_warnings": score_warnings, "num_warnings": len(warnings)}
    view |= {"score": "no score", "metric": None, "notes": [], "sentence": None, "seeds": None}
    if split:
        scores = report[split]["metrics"]
        name = main_metric((metrics[name] for name in scores), (config.get("train") or {}).get("monitor")).name
        view |= _score_view(metrics[name], metrics, scores, split, report[split].get("num_examples"))
        over_seeds = (seeds.get(split) or {}).get(name)
        if over_seeds:
            view["seeds"] = f"Over {seeds['count']} seeds: {_spread(metrics[name], over_seeds)}"
        if (report.get("untrained") or {}).get(name) is not None:
            view |= _gain_view(report, metrics[name], view["notes"])
    if report.get("adaptation"):
        view["notes"] = [report["adaptation"]["sentence"], *view["notes"]]
    described = ", ".join([encoder_name, *(f"{words(name)} {number(value)}" for name, value in _scalars(encoder))])
    counts = [f"{number(row['num_examples'])} {name}" for name, row in data.items() if row]
    per_label = (report.get(split) or {}).get("per_label")
    lines = [("Examples", ", ".join(counts)), ("Labels", number(len(per_label)) if per_label else "")]
    if history:
        best = report.get("best_epoch")
        lines.append(("Epochs", f"{len(history)}" + (f", best: {best}" if best else "")))
    return view | {"summary": summary_view(described, lines, report)}


def _gain_view(report: dict, metric: Metric, notes: list[str]) -> dict:
    """Return a sentence about the gain over the untrained model, or a further note if there is no gain."""
    best, before = report["best_epoch"], metric.format(report["untrained"][metric.name])
    start = f"On validation, {metric.title} was {before} before training"
    if report.get("average"):
        after = metric.format(report["average"]["validation"][metric.name])
        return {"sentence": f"{start} and {after} with the average weights of the best epochs."}
    if best:
        after = metric.format(report["history"][best - 1]["validation"][metric.name])
        return {"sentence": f"{start} and {after} after the best epoch."}
    advice = "A lower train.learning_rate or more examples may help."
    return {"notes": [*notes, f"{start} and no epoch was better, so the encoder was kept unchanged. {advice}"]}


def _scalars(encoder: Mapping) -> list:
    numbers = {key: value for key, value in encoder.items() if isinstance(value, int | float)}
    return [(key, value) for key, value in numbers.items() if key != "name" and not isinstance(value, bool)]


def _score_view(
    declared: Metric, metrics: Mapping[str, Metric], scores: Mapping, split: str, num_examples: int | None
) -> dict:
    """Return the score of the headline, its interval, a sentence that explains it, and notes on its reliability."""
    metric, notes = _interval(scores[declared.name]), []
    view = {"metric": declared.title, "score": declared.format(metric["value"]), "interval": None}
    has_interval = metric["low"] is not None and metric["high"] is not None
    if has_interval:
        low = declared.format(metric["low"])
        view["interval"] = f"{low.removesuffix(' %')} to {declared.format(metric['high'])}"
    if declared.expectation and metric["value"] is not None:
        # Near 100 of 100 the sentence counts per 1,000, so that 99.6 % is not shown as "about 100".
        base = 100 if 0.015 < metric["value"] < 0.985 else 1000
        value, low, high = (f"{math.floor(base * (metric[k] or 0) + 0.5):,}" for k in ("value", "low", "high"))
        interval = f" (95% interval {low} to {high})" if has_interval else ""
        view["sentence"] = f"Expect about {value} of {base:,} similar {declared.expectation}{interval}."
    if split == "validation":
        notes.append(
            "There is no test split. This is the score on the validation split, which also chose the best epoch, "
            "so it is probably slightly too high."
        )
    if num_examples is not None and num_examples < _FEW_EXAMPLES:
        notes.append(
            f"The {split} split has only {number(num_examples)} examples, so the score is imprecise: "
            f"do not choose between models whose scores differ by less than the interval."
        )
    for mean in (metrics[name] for name in scores if metrics[name].is_label_mean and declared.expectation):
        value = _interval(scores[mean.name])["value"]
        if value is not None and metric["value"] is not None and value < metric["value"] - 0.05:
            shown = f"{mean.title} is {mean.format(value)}"
            notes.append(f"Some labels score much lower than the average: {shown}. See Labels below.")
    return view | {"notes": notes, "num_examples": num_examples}


def _spread(metric: Metric, over_seeds: Mapping) -> str:
    mean = metric.format(over_seeds["mean"])
    return f"{mean.removesuffix(' %')} ± {metric.format(over_seeds['std'])}"


def _curves(report: dict, details: dict, metrics: Mapping[str, Metric]) -> dict | None:
    """Return the learning curves and the table of epochs."""
    history = report.get("history") or []
    if not history:
        return None
    untrained = report.get("untrained")
    measured = [{"epoch": 0, "validation": untrained}, *history] if untrained else history
    names = list(dict.fromkeys(name for row in measured for name in row.get("validation") or {}))
    gains = [name for name in names if metrics[name].better == "higher"]
    # Percentages and correlations need different axes.
    fractions = [name for name in gains if metrics[name].unit == "fraction"]
    shown = (fractions or gains)[:3]
    series = {
        metrics[name].title: {row["epoch"]: (row.get("validation") or {}).get(name) for row in measured}
        for name in shown
    }
    best = report.get("best_epoch")
    columns = [
        Column("epoch", lambda row: f"{row['epoch']} (best)" if row["epoch"] == best else str(row["epoch"])),
        Column("loss", lambda row: number(row.get("loss"))),
        *score_columns([metrics[name] for name in names], "validation", prefix="validation "),
        Column("learning rate", lambda row: number(row.get("learning_rate"))),
        Column("time", lambda row: duration(row["seconds"]) if row.get("seconds") is not None else "–"),
        Column("examples/s", lambda row: _rounded(row.get("examples_per_second"))),
    ]
    pictures = plots.learning_curves(history, details.get("step_losses") or [], series, best, bool(fractions))
    return {"plots": pictures, "table": history_table(measured, columns, lambda row: row["epoch"] == best)}


def _rounded(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _scores(report: dict, metrics: Mapping[str, Metric]) -> dict | None:
    """Return the scores on both splits, with intervals and the spread over seeds."""
    splits = [name for name in ("validation", "test") if (report.get(name) or {}).get("metrics")]
    if not splits:
        return None
    names = list(dict.fromkeys(name for split in splits for name in report[split]["metrics"]))
    seeds = report.get("seeds") or {}
    rows = []
    for name in names:
        cells = []
        for split in splits:
            value = _interval(report[split]["metrics"].get(name))
            low, high = (metrics[name].format(value[key]).removesuffix(" %") for key in ("low", "high"))
            interval = "" if value["low"] is None or value["high"] is None else f"{low} to {high}"
            cells.append({"value": metrics[name].format(value["value"]), "interval": interval})
        over_seeds = (seeds.get("test") or {}).get(name)
        spread = _spread(metrics[name], over_seeds) if over_seeds else "–"
        values = ", ".join(metrics[name].format(value) for value in (over_seeds or {}).get("values", []))
        row = {"name": metrics[name].title, "meaning": metrics[name].meaning, "cells": cells}
        rows.append(row | {"spread": spread, "values": values})
    heads = [{"name": name, "num_examples": report[name].get("num_examples")} for name in splits]
    return {"splits": heads, "rows": rows, "num_seeds": seeds.get("count") if seeds.get("test") else None}


def _checks(report: dict) -> dict | None:
    """Return the files of the run and the results of the data checks."""
    checks = report.get("checks") or {}
    warnings = [str(line) for line in checks.get("warnings", [])]
    lines = [str(line) for line in checks.get("lines", []) if str(line) not in warnings]
    files = [{"split": name, **row} for name, row in (report.get("data") or {}).items() if row]
    return {"warnings": warnings, "lines": lines, "files": files} if warnings or lines or files else None


def _labels(report: dict, split: str) -> dict | None:
    """Return the labels by F1, lowest first; labels without an example in the split come last."""
    per_label = (report.get(split) or {}).get("per_label") or {}
    if not per_label:
        return None
    rows = [{"label": label, **row} for label, row in per_label.items()]
    seen = sorted((row for row in rows if row["num_examples"]), key=lambda row: (row["f1"], -row["num_examples"]))
    unseen = [row | {"f1": None, "recall": None} for row in rows if not row["num_examples"]]
    rows = seen + unseen
    first = len(rows) if len(rows) <= _WORST_LABELS + 5 else _WORST_LABELS
    num_rare = sum(row["num_examples"] < 10 for row in rows)
    return {"first": rows[:first], "rest": rows[first:], "num_rare": num_rare, "num_unseen": len(unseen)}


def _confusions(details: dict) -> dict | None:
    """Return the most confused pairs of labels and the confusion matrix; a large one is reduced to these labels."""
    if details.get("confusion") is None or not details.get("labels"):
        return None
    confusion, labels = np.asarray(details["confusion"]), list(details["labels"])
    wrong = confusion - np.diag(np.diag(confusion))
    fraction = wrong / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    order = [divmod(int(i), len(labels)) for i in np.lexsort((-fraction.ravel(), -wrong.ravel())) if wrong.ravel()[i]]
    pairs = [
        {"true": labels[i], "predicted": labels[j], "count": int(wrong[i, j]), "fraction": float(fraction[i, j])}
        for i, j in order[:_MAX_PAIRS]
    ]
    view = {
        "pairs": pairs,
        "num_pairs": len(order),
        "num_wrong": int(wrong.sum()),
        "num_examples": int(confusion.sum()),
    }
    view |= {"num_labels": len(labels), "matrix": None, "num_shown": len(labels), "picture": None}
    if len(labels) <= _MAX_MATRIX:
        return view | {"matrix": plots.heat_map(confusion, labels, labels)}
    view["picture"] = plots.matrix_picture(confusion)
    kept = list(dict.fromkeys(label for pair in order for label in pair))[:_REDUCED_MATRIX]
    if kept:
        counts = confusion[np.ix_(kept, kept)]
        counts = np.column_stack([counts, confusion[kept].sum(axis=1) - counts.sum(axis=1)])
        names = [labels[i] for i in kept]
        view |= {"matrix": plots.heat_map(counts, names, [*names, "any other label"]), "num_shown": len(kept)}
    return view


def _findings(details: dict) -> dict | None:
    """Return a task's own figures and tables."""
    figures = [{**figure, "svg": Markup(figure["svg"])} for figure in details.get("figures") or []]
    tables = details.get("tables") or []
    return {"figures": figures, "tables": tables} if figures or tables else None


def _calibration(details: dict) -> dict | None:
    """Return the reliability diagram, the mean predicted probability and the accuracy."""
    reliability = details.get("reliability")
    bins = [row for row in reliability["bins"] if row["num_examples"]] if reliability else []
    if not bins:
        return None
    num_examples = sum(row["num_examples"] for row in bins)
    probability = sum(row["num_examples"] * row["mean_probability"] for row in bins) / num_examples
    accuracy = sum(row["num_examples"] * row["accuracy"] for row in bins) / num_examples
    view = {"plot": plots.reliability(reliability["bins"]), "error": percent(reliability["calibration_error"])}
    return view | {"probability": probability, "accuracy": accuracy}


def _lengths(details: dict) -> dict | None:
    """Return the text lengths, and the numbers of truncated texts and lost tokens."""
    lengths = {split: np.asarray(values) for split, values in (details.get("lengths") or {}).items() if len(values)}
    max_length = details.get("sequence_length")
    if not lengths:
        return None
    rows = []
    for split, values in lengths.items():
        excess = np.maximum(values - max_length, 0) if max_length else np.zeros_like(values)
        num_truncated, num_lost = int((excess > 0).sum()), int(excess.sum())
        row = {
            "split": split,
            "num_texts": len(values),
            "median": int(np.median(values)),
            "p95": int(np.percentile(values, 95, method="inverted_cdf")),
            "longest": int(values.max()),
            "num_truncated": num_truncated,
            "truncated_fraction": num_truncated / len(values),
            "num_lost": num_lost,
            "lost_fraction": num_lost / max(int(values.sum()), 1),
        }
        rows.append(row)
    return {"rows": rows, "max_length": max_length, "plot": plots.length_histogram(lengths, max_length)}


def _mistakes(details: dict) -> dict | None:
    """Return the table of mistakes, worst first, and the text above it."""
    mistakes = details.get("mistakes") or []
    has_spans = any(mistake.get("gold_spans") or mistake.get("predicted_spans") for mistake in mistakes)
    intro = "Worst first. Some of them may be wrong labels in the data rather than mistakes of the model."
    if has_spans:
        intro += " In the texts, what is true is shaded and what is predicted is underlined."
    table = text_table.table_view([_mistake_row(mistake) for mistake in mistakes], _SOURCES)
    return {"intro": intro, "table": table} if table else None


def _mistake_row(mistake: Mapping) -> TextRow:
    """Return a row of the table from the texts and the fields of an `Outcome`."""
    gold, predicted = (
        tuple(LabelledSpan(**span) for span in mistake.get(key) or ()) for key in ("gold_spans", "predicted_spans")
    )
    confidence = mistake.get("confidence")
    return TextRow(
        texts=tuple(mistake["texts"]),
        labellings=(
            Labelling(label=mistake["gold"], probability=mistake.get("gold_probability"), spans=gold),
            Labelling(label=mistake["predicted"], probability=confidence, is_wrong=True, spans=predicted),
        ),
        groups=tuple((true, guess) for true, guess in mistake.get("confused") or ()),
        confidence=confidence,
        where=mistake.get("where"),
        note=mistake.get("note") or "",
    )
