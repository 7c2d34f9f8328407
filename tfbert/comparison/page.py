"""The page `compare.html`: scores, differences, and the records on which the models disagree."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfbert.comparison.compare import Comparison, listed
from tfbert.evaluation.formatting import number
from tfbert.evaluation.page_parts import write_page
from tfbert.evaluation.text_table import Labelling, TextRow, table_view
from tfbert.fields import differing_values

_SECTIONS = {
    "pairs": "Differences",
    "metrics": "Metrics",
    "settings": "Settings that differ",
    "labels": "Labels",
    "disagreements": "Disagreements",
    "repeat": "Repeat this comparison",
}
_MAX_LABELS = 30


def render(comparison: Comparison, command: str, path: Path) -> None:
    """Write a comparison as one self-contained HTML file.

    Args:
        comparison: the comparison.
        command: the command that repeats it.
        path: the file to write; an existing file is replaced.
    """
    disagreements = comparison.disagreements()
    views = {
        "pairs": _pairs(comparison),
        "metrics": _metrics(comparison),
        "settings": differing_values([system.config.to_dict() for system in comparison.systems]),
        "labels": _labels(comparison),
        "disagreements": _disagreements(comparison, disagreements),
    }
    names = [system.name for system in comparison.systems]
    headline = _headline(comparison, len(disagreements))
    write_page("compare.html.jinja", path, _SECTIONS, {"command": command}, headline=headline, names=names, **views)


def _headline(comparison: Comparison, num_disagreements: int) -> dict[str, Any]:
    leaders, metric = comparison.leaders(), comparison.metric
    score = comparison.scores[leaders[0]][metric.name]
    names = [system.name for system in comparison.systems]
    return {
        "title": f"Comparison of {', '.join(names)}",
        "score": metric.format(score["value"]),
        "interval": metric.format_interval(score["low"], score["high"]),
        "metric": metric.title,
        "best": listed([names[leader] for leader in leaders]),
        "is_tie": len(leaders) == len(names),
        "num_records": comparison.num_records,
        "explanations": comparison.explanations,
        "sentence": comparison.verdict(),
        "notes": comparison.warnings,
        "summary": [
            ("Task", comparison.systems[0].task.name.replace("_", " ")),
            ("Records", number(comparison.num_records)),
            ("Different predictions", number(num_disagreements)),
            ("Seeds", number(comparison.num_trainings)),
        ],
    }


def _pairs(comparison: Comparison) -> list[dict[str, Any]]:
    names, metric, rows = [system.name for system in comparison.systems], comparison.metric, []
    for pair in comparison.pairs:
        rows.append(
            {
                "better": names[pair.better],
                "worse": names[pair.worse],
                "gain": metric.format_difference(pair.gain.difference),
                "interval": metric.format_difference_interval(pair.gain.low, pair.gain.high),
                "is_significant": pair.is_significant,
                "is_tie": pair.is_tie,
                "p_value": "below 0.001" if pair.p_value < 0.001 else f"{pair.p_value:.3f}",
                "num_better": pair.num_better,
                "num_worse": pair.num_worse,
                "num_equal": comparison.num_records - pair.num_better - pair.num_worse,
                "sentence": comparison.sentence(pair),
            }
        )
    return rows


def _metrics(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a row per metric, with a cell per system."""
    rows = []
    for metric in comparison.systems[0].task.metrics:
        if metric.name not in comparison.scores[0]:
            continue
        scores = [by_metric[metric.name] for by_metric in comparison.scores]
        values = [metric.sign * score["value"] for score in scores]
        cells = [
            {
                "value": metric.format(score["value"]),
                "interval": metric.format_interval(score["low"], score["high"], with_unit=False),
                "is_best": value == max(values) > min(values),
            }
            for score, value in zip(scores, values, strict=True)
        ]
        rows.append({"name": metric.title, "meaning": metric.meaning, "cells": cells})
    return rows


def _labels(comparison: Comparison) -> dict[str, Any] | None:
    """Return the labels with the largest differences of F1; `None` for tasks without labels."""
    label_scores = [evaluation.per_label() for evaluation in comparison.evaluations]
    rows = []
    for label, first in label_scores[0].items():
        values = [by_label[label]["f1"] for by_label in label_scores]
        if first["num_examples"] and len(set(values)) > 1:
            rows.append({"label": label, "num_examples": first["num_examples"], "f1": values})
    rows.sort(key=lambda row: -float(np.ptp(row["f1"])))
    return {"rows": rows[:_MAX_LABELS], "num_rows": len(rows)} if rows else None


def _disagreements(comparison: Comparison, records: Sequence[int]) -> dict[str, Any] | None:
    """Return the table of the records with different predictions, and the sentence above it."""
    if not records:
        return None
    scores = np.asarray([evaluation.record_scores() for evaluation in comparison.evaluations])
    names = [system.name for system in comparison.systems]
    is_unequal = np.ptp(scores, axis=0) > 0
    best, worst = (scores == scores.max(axis=0)) & is_unequal, (scores == scores.min(axis=0)) & is_unequal
    if len(names) == 2:
        categories = {f"{name} better": best[index] for index, name in enumerate(names)}
    else:
        categories = {f"{name} among the best": best[index] for index, name in enumerate(names)}
        categories |= {f"{name} among the worst": worst[index] for index, name in enumerate(names)}
    categories["none better"] = ~is_unequal
    rows = [
        _row(comparison, record, scores[:, record], [name for name, members in categories.items() if members[record]])
        for record in records
    ]
    intro = (
        f"The predictions differ for {len(records):,} of {comparison.num_records:,} records, which follow with the "
        "largest difference in quality first."
    )
    if any(labelling.spans for row in rows for labelling in row.labellings):
        predict = "predicts" if len(names) == 2 else "predict"
        intro += (
            f" In the texts, what is true is shaded. What {names[0]} predicts has a line below it, what "
            f"{listed(names[1:])} {predict} a dotted one, and both a double one."
        )
    return {"intro": intro, "table": table_view(rows, ["true", *names])}


def _row(comparison: Comparison, record: int, scores: np.ndarray, categories: Sequence[str]) -> TextRow:
    """Return a record with its true value and the predictions of all systems.

    Args:
        comparison: the comparison.
        record: the position of the record.
        scores: how good the prediction of each system is: 1 if right, lower if worse.
        categories: names by which the record can be found.
    """
    system = comparison.systems[0]
    source = system.records[comparison.indices[0][record]]
    outcomes = [evaluation.outcome(record) for evaluation in comparison.evaluations]
    predictions = [
        Labelling(
            label=outcome.predicted,
            probability=outcome.confidence,
            is_wrong=bool(score < 1),
            spans=outcome.predicted_spans,
        )
        for outcome, score in zip(outcomes, scores, strict=True)
    ]
    return TextRow(
        texts=tuple(map(_text_of, system.task.inputs_of(source).values())),
        labellings=(Labelling(label=outcomes[0].gold, spans=outcomes[0].gold_spans), *predictions),
        categories=tuple(categories),
        where=source.where,
        note=", ".join(categories),
    )


def _text_of(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
