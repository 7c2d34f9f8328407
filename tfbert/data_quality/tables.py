"""Files and summary of an examination: doubtful.csv, which a person fills in, near-duplicates, values of rows, JSON."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tfbert.data_quality.doubtful import DoubtfulRow, Examination, Judgement
from tfbert.data_quality.labels import label_text
from tfbert.files import write_text
from tfbert.text.corrections import CORRECTED_LABEL, ENTITY, NO_ENTITY, WHERE, Correction

DOUBTFUL, NEAR_DUPLICATES, VALUES = "doubtful.csv", "near_duplicates.csv", "values.csv"
# Doubtful rows in JSON.
_MAX_EXAMPLES = 100
_SHOWN = 3


def write_tables(examination: Examination, directory: Path, corrections: Sequence[Correction] = ()) -> list[Path]:
    """Write the tables of an examination into a directory, and return their paths.

    Args:
        examination: the examination.
        directory: created if missing.
        corrections: those that the data already has.

    Raises:
        ValueError: doubtful.csv exists and has corrections.
        WriteError: the disk is full.
    """
    check_not_filled_in(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tables = {
        DOUBTFUL: doubtful_table(examination.labels.rows, corrections),
        NEAR_DUPLICATES: _near_duplicate_table(examination),
        VALUES: _value_table(examination),
    }
    for name, rows in tables.items():
        write_table(directory / name, rows)
    return [directory / name for name in tables]


def write_table(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """Write a csv file that spreadsheets can open.

    Raises:
        WriteError: the disk is full.
    """
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows(rows)
    # Excel recognizes UTF-8 by the byte order mark.
    write_text(path, "\ufeff" + stream.getvalue())


def check_not_filled_in(directory: Path) -> None:
    """Refuse to replace a table in which a person has filled in corrections.

    Raises:
        ValueError: the table has corrections, or has been changed so that nobody can tell.
    """
    path = directory / DOUBTFUL
    if path.exists() and _may_be_filled_in(path):
        raise ValueError(f"{path}: has corrections, which would be lost; expected another --out, or rename the file")


def _may_be_filled_in(path: Path) -> bool:
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream)
            return CORRECTED_LABEL not in (rows.fieldnames or ()) or any(
                (row[CORRECTED_LABEL] or "").strip() for row in rows
            )
    except (UnicodeDecodeError, csv.Error):
        return True


def doubtful_table(rows: Sequence[DoubtfulRow], corrections: Sequence[Correction] = ()) -> Iterator[list[str]]:
    """Yield the header and the rows of doubtful.csv.

    Args:
        rows: the doubtful labels.
        corrections: those that the data already has. They are filled in, because a new table replaces the old one.
    """
    earlier = {(correction.where, correction.texts, correction.span): correction for correction in corrections}
    texts = [*(row.given.record.texts for row in rows), *(correction.texts for correction in corrections)]
    num_texts = max(map(len, texts), default=1)
    has_spans = any(row.given.span for row in rows) or any(correction.span for correction in corrections)
    spans = ["start", "end", ENTITY] if has_spans else []
    scores = ["score", "self_confidence", "margin", "neighbour_disagreement", "value", "neighbours"]
    names = ["text", "text_pair"][:num_texts]
    yield [WHERE, "split", *names, *spans, "label", "suggested_label", CORRECTED_LABEL, *scores]

    def cells(texts: Sequence[str], span: tuple[int, int] | None, entity: str) -> list[str]:
        position = ([*map(str, span), entity] if span else [""] * 3) if has_spans else []
        return [*texts, *[""] * (num_texts - len(texts)), *position]

    for row in rows:
        given, record = row.given, row.given.record
        corrected = earlier.pop((*record.key, given.span), None)
        values = (row.score, row.self_confidence, row.margin, row.disagreement, row.value)
        labels = [given.label, row.suggested, corrected.label if corrected else ""]
        neighbours = "\n".join(neighbour.describe() for neighbour in row.neighbours)
        position = cells(record.texts, given.span, given.span_text)
        yield [record.where, row.split, *position, *labels, *map(_number, values), neighbours]
    for correction in earlier.values():
        position = cells(correction.texts, correction.span, correction.entity)
        yield [correction.where, "", *position, "", "", correction.label, *[""] * len(scores)]


def _near_duplicate_table(examination: Examination) -> Iterator[list[str]]:
    yield ["kind", "similarity", *(f"{name}{suffix}" for suffix in ("", "_2") for name in ("where", "text", "label"))]
    for pair in examination.near_duplicates:
        cells = [
            cell for record in pair.records for cell in (record.where, " / ".join(record.texts), label_text(record))
        ]
        yield [pair.kind, _number(pair.similarity), *cells]


def _value_table(examination: Examination) -> Iterator[list[str]]:
    spans = ["start", "end", ENTITY] if examination.labels.has_spans else []
    yield [WHERE, "text", *spans, "label", "value"]
    for given, value in examination.labels.values:
        span = [*map(str, given.span), given.span_text] if given.span else []
        yield [given.record.where, " / ".join(given.record.texts), *span, given.label, _number(value)]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def summary(examination: Examination) -> list[tuple[str, str]]:
    """Return kind and sentence of each finding, for display."""
    labels = examination.labels
    lines = label_lines(labels)
    for (kind, splits), count in Counter((p.kind, p.splits) for p in examination.near_duplicates).items():
        pairs = [p for p in examination.near_duplicates if (p.kind, p.splits) == (kind, splits)]
        examples = (f"{second.where} = {first.where}" for first, second in (pair.records for pair in pairs[:_SHOWN]))
        between = splits[0] if len(set(splits)) == 1 else " and ".join(splits)
        lines.append((kind, f"{count:,} pair{'' if count == 1 else 's'} in {between}{_some(examples, count)}"))
    if labels.values:
        harmful = [given.record.where for given, value in labels.values if value < 0]
        what = "entities" if labels.has_spans else "rows"
        sentence = f"{len(harmful):,} of {len(labels.values):,} {what} of train mislead their nearest neighbours"
        lines.append(("value", f"{sentence} (negative value){_some(harmful[:_SHOWN], len(harmful))}"))
    return lines + [("drift", drift.line()) for drift in examination.drift]


def label_lines(labels: Judgement) -> list[tuple[str, str]]:
    """Return kind and sentence of what was found in the labels, for display."""
    lines, what = [], "entities" if labels.has_spans else "rows"
    for name, number in labels.num_labels.items():
        rows = [row for row in labels.rows if row.split == name and row.given.label != NO_ENTITY]
        line = f"{len(rows):,} of {number:,} {what} of {name} ({len(rows) / max(number, 1):.1%}) look mislabelled"
        lines.append(("doubtful label", f"{line}{_some(map(_doubt, rows[:_SHOWN]), len(rows))}"))
        missed = [row for row in labels.rows if row.split == name and row.given.label == NO_ENTITY]
        if missed:
            line = f"{len(missed):,} span{'' if len(missed) == 1 else 's'} of {name} may be entities without a label"
            lines.append(("missed entity", f"{line}{_some(map(_doubt, missed[:_SHOWN]), len(missed))}"))
        if (examined := labels.num_examined[name]) < (total := labels.num_records[name]):
            lines.append(("limit", f"{examined:,} of {total:,} rows of {name} were examined, chosen at random"))
        if unjudged := labels.num_unjudged.get(name):
            other = "no other entity has their type" if labels.has_spans else "no other row has their label"
            lines.append(("not judged", f"{unjudged:,} of {number:,} {what} of {name}: {other}"))
    return lines


def _doubt(row: DoubtfulRow) -> str:
    span = f"{row.given.span_text!r} " if row.given.span else ""
    label = "" if row.given.label == NO_ENTITY else f"{row.given.label!r}, "
    return f"{row.given.record.where} {span}{label}more likely {row.suggested!r}"


def _some(examples: Iterable[str], count: int) -> str:
    shown = ", ".join([*examples, *(["..."] if count > _SHOWN else [])])
    return f": {shown}" if shown else ""


def row_to_dict(row: DoubtfulRow) -> dict[str, Any]:
    """Return a doubtful label for JSON."""
    record, span = row.given.record, row.given.span
    position = {} if span is None else {"start": span[0], "end": span[1], "entity": row.given.span_text}
    return {
        "split": row.split,
        "where": record.where,
        "texts": list(record.texts),
        **position,
        "label": row.given.label,
        "suggested_label": row.suggested,
        "score": row.score,
        "self_confidence": row.self_confidence,
        "neighbours": [
            {"where": n.record.where, "texts": list(n.record.texts), **({"entity": n.span_text} if n.span else {})}
            for n in row.neighbours
        ],
    }


def labels_to_dict(labels: Judgement, max_rows: int = _MAX_EXAMPLES) -> dict[str, Any]:
    """Return what was found in the labels for JSON, with the first of the doubtful ones."""
    return {
        "num_records": dict(labels.num_records),
        "num_examined": dict(labels.num_examined),
        "num_labels": dict(labels.num_labels),
        "num_unjudged": dict(labels.num_unjudged),
        "num_doubtful": {name: sum(row.split == name for row in labels.rows) for name in labels.num_examined},
        "rows": [row_to_dict(row) for row in labels.rows[:max_rows]],
    }


def to_dict(examination: Examination) -> dict[str, Any]:
    """Return the examination for JSON, with the first of the doubtful labels."""
    return {
        **labels_to_dict(examination.labels),
        "near_duplicates": dict(Counter(pair.kind for pair in examination.near_duplicates)),
        "num_harmful": sum(value < 0 for _, value in examination.labels.values),
        "drift": [drift.to_dict() for drift in examination.drift],
    }
