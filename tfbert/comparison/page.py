"""The page `compare.html`: scores, differences, and the records on which the models disagree."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from tfbert.comparison.compare import Comparison
from tfbert.evaluation.formatting import number
from tfbert.evaluation.metric import LabelledSpan
from tfbert.evaluation.page_parts import write_page
from tfbert.fields import differing_values

_SECTIONS = {
    "pairs": "Differences",
    "metrics": "Metrics",
    "settings": "Settings that differ",
    "labels": "Labels",
    "disagreements": "Disagreements",
    "repeat": "Repeat this comparison",
}
_MAX_DISAGREEMENTS, _MAX_LABELS = 1000, 30
_PREVIEW_CHARACTERS, _MAX_CHARACTERS = 240, 4000
# Characters shown around the spans of a text.
_CONTEXT = 80


@dataclass(frozen=True)
class Excerpt:
    """A part of a text.

    Args:
        start: the index of its first character.
        end: the end, exclusive.
    """

    start: int
    end: int


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
    best, metric = comparison.ranking()[0], comparison.metric
    score = comparison.scores[best][metric.name]
    names = [system.name for system in comparison.systems]
    return {
        "title": f"Comparison of {', '.join(names)}",
        "score": metric.format(score["value"]),
        "interval": metric.format_interval(score["low"], score["high"]),
        "metric": metric.title,
        "best": names[best],
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
        best = max(metric.sign * score["value"] for score in scores)
        cells = [
            {
                "value": metric.format(score["value"]),
                "interval": metric.format_interval(score["low"], score["high"], with_unit=False),
                "is_best": metric.sign * score["value"] == best,
            }
            for score in scores
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
    if not records:
        return None
    scores = np.asarray([evaluation.record_scores() for evaluation in comparison.evaluations])
    shown = records[:_MAX_DISAGREEMENTS]
    best, worst = (scores == scores.max(axis=0)), (scores == scores.min(axis=0))
    is_unequal = np.ptp(scores, axis=0) > 0
    groups = [(f"{s.name} better", best[i] & is_unequal) for i, s in enumerate(comparison.systems)]
    if len(comparison.systems) > 2:
        groups = [(f"{s.name} among the best", best[i] & is_unequal) for i, s in enumerate(comparison.systems)]
        groups += [(f"{s.name} among the worst", worst[i] & is_unequal) for i, s in enumerate(comparison.systems)]
    groups.append(("none better", ~is_unequal))
    filters = [(name, int(members[shown].sum()), members) for name, members in groups]
    rows = [
        _row(comparison, record, best[:, record] & is_unequal[record], scores[:, record] == 1)
        | {"groups": [index for index, (_, _, members) in enumerate(filters) if members[record]]}
        for record in shown
    ]
    return {
        "rows": rows,
        "num_records": len(records),
        "filters": [(index, name, count) for index, (name, count, _) in enumerate(filters) if count],
    }


def _row(comparison: Comparison, record: int, is_best: np.ndarray, is_right: np.ndarray) -> dict[str, Any]:
    """Return a record with the predictions of all systems."""
    system = comparison.systems[0]
    source = system.records[comparison.indices[0][record]]
    outcomes = [evaluation.outcome(record) for evaluation in comparison.evaluations]
    inputs = {name: _text_of(value) for name, value in system.task.inputs_of(source).items()}
    *_, text = inputs.values()
    all_spans = [outcomes[0].gold_spans, *(outcome.predicted_spans for outcome in outcomes)]
    excerpts = _excerpts(text, [span for spans in all_spans for span in spans])
    if excerpts:
        # The text is shown with its spans instead.
        inputs.popitem()
    marked = [mark(text, spans, excerpts, all_spans[0]) if spans else None for spans in all_spans]
    return {
        "where": source.where,
        "inputs": [_preview(name if len(inputs) > 1 else "", value) for name, value in inputs.items()],
        "gold": outcomes[0].gold,
        "gold_marked": marked[0],
        "predictions": [
            {
                "name": other.name,
                "predicted": outcome.predicted,
                "confidence": outcome.confidence,
                "marked": marks,
                "is_best": bool(best),
                "is_right": bool(right),
            }
            for other, outcome, marks, best, right in zip(
                comparison.systems, outcomes, marked[1:], is_best, is_right, strict=True
            )
        ],
    }


def _text_of(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _preview(name: str, text: str) -> dict[str, Any]:
    is_long = len(text) > _PREVIEW_CHARACTERS
    return {
        "name": name,
        "text": text[:_MAX_CHARACTERS],
        "preview": text[:_PREVIEW_CHARACTERS].rstrip() if is_long else None,
        "num_left_out": max(0, len(text) - _MAX_CHARACTERS),
    }


def _excerpts(text: str, spans: Sequence[LabelledSpan]) -> list[Excerpt]:
    """Return the parts of a text around spans; parts that touch each other are one. A short text is one part."""
    if spans and len(text) <= _PREVIEW_CHARACTERS:
        return [Excerpt(0, len(text))]
    parts: list[Excerpt] = []
    for span in sorted(spans, key=lambda span: span.start):
        part = _around(text, span)
        if parts and part.start <= parts[-1].end:
            parts[-1] = Excerpt(parts[-1].start, max(part.end, parts[-1].end))
        else:
            parts.append(part)
    return parts


def _around(text: str, span: LabelledSpan) -> Excerpt:
    """Return the part of a text around a span, from the start of a word to the end of one if there are spaces."""
    start, end = max(0, span.start - _CONTEXT), min(len(text), span.end + _CONTEXT)
    if start:
        start = max(start, text.find(" ", start, span.start) + 1)
    if end < len(text):
        last_space = text.rfind(" ", span.end, end)
        end = end if last_space < 0 else last_space
    return Excerpt(start, end)


def mark(text: str, spans: Sequence[LabelledSpan], excerpts: Sequence[Excerpt], gold: Sequence[LabelledSpan]) -> Markup:
    """Return excerpts of a text as HTML, with spans marked.

    Args:
        text: the whole text.
        spans: the spans to mark; of overlapping ones only the first is marked.
        excerpts: the parts of the text to show, in order.
        gold: the true spans; others are marked as wrong.
    """
    pieces = []
    for excerpt in excerpts:
        pieces.append("… " if excerpt.start else "")
        position = excerpt.start
        for span in sorted(spans, key=lambda span: (span.start, -span.end)):
            if position <= span.start and span.end <= excerpt.end:
                wrong = Markup(' class="wrong"') if span not in gold else ""
                label = Markup("<small>{}</small>").format(span.label) if span.label else ""
                marked = Markup("<mark{}>{}{}</mark>").format(wrong, text[span.start : span.end], label)
                pieces += [text[position : span.start], marked]
                position = span.end
        pieces += [text[position : excerpt.end], " …" if excerpt.end < len(text) else ""]
    return Markup("").join(escape(piece) for piece in pieces)
