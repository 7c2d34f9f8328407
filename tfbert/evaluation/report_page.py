"""The report page `report.html` of a task, written from `report.json` and further details."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from tfbert.evaluation import plots, text_table
from tfbert.evaluation.formatting import duration, kept_epochs, number, percent
from tfbert.evaluation.headline import (
    difference_text,
    headline,
    interval_of,
    is_unchanged,
    mean_probability,
    monitor_name,
    progress_sentence,
)
from tfbert.evaluation.metric import LabelledSpan, Metric
from tfbert.evaluation.page_parts import Column, history_table, score_columns, write_page
from tfbert.evaluation.text_table import Contribution, Labelling, Similar, TextRow
from tfbert.evaluation.trust_page import trust_view

_SECTIONS = {
    "curves": "Training",
    "metrics": "Metrics",
    "sizes": "More labelled examples",
    "checks": "Data",
    "labels": "Labels",
    "confusions": "Confusions",
    "findings": "Details",
    "trust": "When to trust a prediction",
    "lengths": "Lengths",
    "mistakes": "Mistakes",
    "doubtful": "Doubtful labels",
    "cost": "Time and memory",
    "repeat": "Repeat this run",
}
_WORST_LABELS, _MAX_PAIRS, _MAX_MATRIX, _REDUCED_MATRIX, _DOUBTFUL_ROWS = 20, 25, 30, 20, 20
_SOURCES = ("true", "predicted")


def render(report: dict, details: dict, path: Path) -> None:
    """Write the report of a run as one self-contained HTML file.

    Args:
        report: the content of `report.json`; splits that were not scored are `None` or absent.
        details: what is too large for `report.json`; sections without their keys are omitted. `labels`; `split`, which
            the other details describe; `confusion`, int `(labels, labels)` with true labels in rows; `step_losses`,
            (step, loss) pairs; `reliability`; `lengths`, int `(texts,)` by split, in tokens including special tokens;
            `sequence_length`; `mistakes`, worst first; `explanations` of the first of them, and the `faithfulness` of
            explanations; `doubtful` labels, as `data_quality.tables.labels_to_dict` returns them, and the path of their
            `table`; and the task's own `figures` (`title`, `svg`, `caption`) and
            `tables` (`title`, `columns`, `rows` of cells, `caption`).
        path: the file to write; an existing file is replaced.
    """
    metrics = _metrics_of(report)
    split = details.get("split") or ("test" if report.get("test") else "validation")
    views = {
        "curves": _curves(report, details, metrics),
        "metrics": _scores(report, metrics),
        "sizes": _sizes(report, metrics),
        "checks": _checks(report),
        "labels": _labels(report, split),
        "confusions": _confusions(details),
        "findings": _findings(details),
        "trust": _trust(details),
        "lengths": _lengths(details),
        "mistakes": _mistakes(details),
        "doubtful": _doubtful(details),
    }
    views |= {"headline": headline(report, details, metrics), "split": split}
    write_page("page.html.jinja", path, _SECTIONS, report, defaults=details.get("defaults"), **views)


def _metrics_of(report: dict) -> dict[str, Metric]:
    """Return the metrics that a report declares by name."""
    return {fields["name"]: Metric.from_json(fields) for fields in report.get("metrics") or []}


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
    kept = kept_epochs(report)
    mark = "averaged" if len(kept) > 1 else "kept"
    columns = [
        Column("epoch", lambda row: f"{row['epoch']} ({mark})" if row["epoch"] in kept else str(row["epoch"])),
        Column("loss", lambda row: number(row.get("loss"))),
        *score_columns([metrics[name] for name in names], "validation", prefix="validation "),
        Column("learning rate", lambda row: number(row.get("learning_rate"))),
        Column("time", lambda row: duration(row["seconds"]) if row.get("seconds") is not None else "–"),
        Column("examples/s", lambda row: _rounded(row.get("examples_per_second"))),
    ]
    monitor = monitor_name(report)
    monitor = monitor if monitor in names else next(iter(names), None)
    sentence = progress_sentence(report, metrics[monitor]) if monitor and not is_unchanged(report) else ""
    pictures = plots.learning_curves(history, details.get("step_losses") or [], series, kept, bool(fractions))
    return {
        "plots": pictures,
        "sentence": sentence,
        "table": history_table(measured, columns, lambda row: row["epoch"] in kept),
    }


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
            value = interval_of(report[split]["metrics"].get(name))
            interval = metrics[name].format_interval(value["low"], value["high"], with_unit=False)
            cells.append({"value": metrics[name].format(value["value"]), "interval": interval})
        over_seeds = (seeds.get("test") or {}).get(name)
        shown_spread = metrics[name].format_spread(over_seeds["mean"], over_seeds["std"]) if over_seeds else "–"
        values = ", ".join(metrics[name].format(value) for value in (over_seeds or {}).get("values", []))
        row = {"name": metrics[name].title, "meaning": metrics[name].meaning, "cells": cells}
        rows.append(row | {"spread": shown_spread, "values": values})
    heads = [{"name": name, "num_examples": report[name].get("num_examples")} for name in splits]
    return {"splits": heads, "rows": rows, "num_seeds": seeds.get("count") if seeds.get("test") else None}


def _sizes(report: dict, metrics: Mapping[str, Metric]) -> dict | None:
    """Return the scores of heads fitted to parts of the training data, and whether more labels may help."""
    sizes = report.get("training_sizes")
    if not sizes:
        return None
    metric, points = metrics[sizes["metric"]], sizes["points"]
    low, high = sorted(metric.sign * sizes[bound] for bound in ("low", "high"))
    shown = difference_text(metric, metric.sign * sizes["difference"], low, high)
    half, whole = (f"{point['num_examples']:,}" for point in points[-2:])
    change = (
        f"Doubling the number of labelled examples from {half} to {whole} changed {metric.title} on validation by "
        f"{shown}"
    )
    small = 0.01 if metric.unit == "fraction" else 0.005
    # Reports of earlier versions do not have the number of records that differ.
    if sizes.get("num_differing") == 0 and low == high == 0:
        has_none_right = metric.unit == "fraction" and not np.any(points[-1]["scores"])
        sentence = (
            f"The head makes the same predictions on validation right with {half} labelled examples as with {whole}: "
            f"the validation split is too small or too {'hard' if has_none_right else 'easy'} to tell whether more of "
            "them would help."
        )
    elif low > 0:
        sentence = f"{change}, so more of them will probably help."
    elif high < small:
        sentence = f"{change}, so more of the same kind will hardly help."
    else:
        sentence = f"{change}, which may be chance: it is uncertain whether more of them would help."
    if points[-1]["num_examples"] < sizes["num_train"]:
        sentence += f" Only {whole} of the {sizes['num_train']:,} training examples were used for this."
    return {"sentence": sentence, "plot": plots.training_sizes(points, metric)}


def _checks(report: dict) -> dict | None:
    """Return the files of the run and the results of the data checks."""
    checks = report.get("checks") or {}
    warnings = [str(line) for line in checks.get("warnings", [])]
    lines = [str(line) for line in checks.get("lines", []) if str(line) not in warnings]
    files = [{"split": name, **row} for name, row in (report.get("data") or {}).items() if row]
    # Splits that were cut from one file.
    is_one = len(files) > 1 and len({(row.get("path"), row.get("sha256")) for row in files}) == 1
    view = {"warnings": warnings, "lines": lines, "files": files, "source": files[0] if is_one else None}
    return view if warnings or lines or files else None


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


def _trust(details: dict) -> dict | None:
    """Return what is known about when to trust a prediction, with the reliability diagram."""
    view, means = trust_view(details), mean_probability(details)
    if view is None and means is None:
        return None
    view = {"sentences": [], "rows": [], "plot": None, "reliability": None} | (view or {})
    if means is not None:
        probability, accuracy, _ = means
        reliability, measured = details["reliability"], (details.get("trust") or {}).get("calibration")
        before = measured["before"]["bins"] if measured else ()
        view |= {"reliability": plots.reliability(reliability["bins"], before), "probability": probability}
        view |= {"accuracy": accuracy, "error": percent(reliability["calibration_error"])}
    return view


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
    confused = [[tuple(pair) for pair in mistake.get("confused") or ()] for mistake in mistakes]
    if any(len(set(pairs)) < len(pairs) for pairs in confused):
        intro += (
            " Each text is listed once, however often the same mistake occurs in it, so the count of a mistake may be "
            "larger than the number of texts that it links to."
        )
    explanations = [[] if has_spans else values for values in details.get("explanations") or []]
    similar = details.get("evidence") or []
    rows = [
        _mistake_row(*values)
        for values in itertools.zip_longest(
            mistakes, explanations[: len(mistakes)], similar[: len(mistakes)], fillvalue=()
        )
    ]
    table = text_table.table_view(rows, _SOURCES)
    notes = _explanation_notes(sum(map(bool, explanations)), details.get("faithfulness"))
    if any(similar):
        notes.append(
            "Below the first mistakes are the most similar training examples, with the cosine similarity of their "
            "vectors."
        )
    return {"intro": intro, "notes": notes, "table": table} if table else None


def _doubtful(details: dict) -> dict | None:
    """Return the most doubtful labels, with the text above and below them."""
    doubtful = details.get("doubtful") or {}
    rows = doubtful.get("rows")
    if not rows:
        return None
    has_spans = any("start" in row for row in rows)
    what = "entities and possible entities" if has_spans else "labels"
    counts = [f"{number:,} {what} of {split}" for split, number in doubtful["num_doubtful"].items() if number]
    examined = [
        f"{number:,} of {total:,} records of {split}"
        for split, number in doubtful["num_examined"].items()
        if number < (total := doubtful["num_records"][split])
    ]
    partly = f" Only {' and '.join(examined)} were examined; tfbert check --doubtful examines all." if examined else ""
    return {
        "intro": f"For {' and '.join(counts)}, another label is more probable than the given one. Most doubtful first; "
        f"a rare but right label looks doubtful, too.{partly}",
        "rows": [{**row, "text": " / ".join(row["texts"])} for row in rows[:_DOUBTFUL_ROWS]],
        "has_spans": has_spans,
        "table": doubtful["table"],
    }


def _explanation_notes(num_explained: int, faithfulness: Mapping | None) -> list[str]:
    """Return what the coloured words mean, and how far they can be trusted."""
    notes = []
    if num_explained:
        notes.append(
            f"In the first {num_explained}, words with a solid line speak for the predicted label (the most probable "
            "one, if there are several), and words with a dashed line against it; a stronger colour means a larger "
            "contribution."
        )
    if faithfulness:
        explained, random = (faithfulness[name]["comprehensiveness"] for name in ("explained", "random"))
        notes.append(
            f"Deletion test of such explanations on {faithfulness['num_texts']} texts: without the words that "
            "contribute most (5, 10, 20 and 50 % of a text), the probability of the label falls by "
            f"{100 * explained:.1f} points on average; without the same number of random words, by "
            f"{100 * random:.1f} points."
        )
    return notes


def _mistake_row(mistake: Mapping, contributions: Sequence[Sequence], similar: Sequence[Sequence]) -> TextRow:
    """Return a row of the table from the texts and the fields of an `Outcome`, and from its explanation."""
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
        contributions=tuple(Contribution(*values) for values in contributions),
        similar=tuple(Similar(tuple(texts), *values) for texts, *values in similar),
    )
