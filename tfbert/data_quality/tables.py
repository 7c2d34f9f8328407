"""Files and summary of an examination: doubtful.csv, which a person fills in, near-duplicates, values of rows, JSON."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tfbert.data_quality.doubtful import DoubtfulRow, Examination
from tfbert.files import write_text
from tfbert.text.corrections import CORRECTED_LABEL, WHERE

DOUBTFUL, NEAR_DUPLICATES, VALUES = "doubtful.csv", "near_duplicates.csv", "values.csv"
# Doubtful rows in JSON.
_MAX_EXAMPLES = 100
_SHOWN = 3


def write_tables(examination: Examination, directory: Path) -> list[Path]:
    """Write the tables of an examination into a directory, and return their paths.

    Raises:
        ValueError: doubtful.csv exists and may have corrections.
        WriteError: the disk is full.
    """
    check_not_filled_in(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tables = {
        DOUBTFUL: _doubtful_table(examination.rows),
        NEAR_DUPLICATES: _near_duplicate_table(examination),
        VALUES: _value_table(examination),
    }
    for name, rows in tables.items():
        stream = io.StringIO(newline="")
        csv.writer(stream).writerows(rows)
        # Excel recognizes UTF-8 by the byte order mark.
        write_text(directory / name, "\ufeff" + stream.getvalue())
    return [directory / name for name in tables]


def check_not_filled_in(directory: Path) -> None:
    """Refuse to replace the table of an earlier examination, which may have corrections.

    Raises:
        ValueError: it exists.
    """
    if (directory / DOUBTFUL).exists():
        raise ValueError(f"{directory / DOUBTFUL}: exists and may have corrections; expected another --out")


def _doubtful_table(rows: Sequence[DoubtfulRow]) -> Iterator[list[str]]:
    num_texts = max((len(row.record.texts) for row in rows), default=1)
    texts = ["text", "text_pair"][:num_texts]
    scores = ["score", "self_confidence", "margin", "neighbour_disagreement", "value"]
    yield [WHERE, "split", *texts, "label", "suggested_label", CORRECTED_LABEL, *scores, "neighbours"]
    for row in rows:
        values = (row.score, row.self_confidence, row.margin, row.disagreement, row.value)
        neighbours = "\n".join(f"{neighbour.where} {' / '.join(neighbour.texts)}" for neighbour in row.neighbours)
        labels = [row.record.target, row.suggested, ""]
        yield [row.record.where, row.split, *row.record.texts, *labels, *map(_number, values), neighbours]


def _near_duplicate_table(examination: Examination) -> Iterator[list[str]]:
    yield ["kind", "similarity", *(f"{name}{suffix}" for suffix in ("", "_2") for name in ("where", "text", "label"))]
    for pair in examination.near_duplicates:
        cells = [cell for record in pair.records for cell in (record.where, " / ".join(record.texts), record.target)]
        yield [pair.kind, _number(pair.similarity), *cells]


def _value_table(examination: Examination) -> Iterator[list[str]]:
    yield [WHERE, "text", "label", "value"]
    for record, value in examination.values:
        yield [record.where, " / ".join(record.texts), record.target, _number(value)]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def summary(examination: Examination) -> list[tuple[str, str]]:
    """Return kind and sentence of each finding, for display."""
    lines = []
    for name, number in examination.num_examined.items():
        rows = [row for row in examination.rows if row.split == name]
        line = f"{len(rows):,} of {number:,} rows of {name} ({len(rows) / number:.1%}) look mislabelled"
        lines.append(("doubtful label", f"{line}{_some(map(_doubt, rows[:_SHOWN]), len(rows))}"))
        if number < examination.num_records[name]:
            total = examination.num_records[name]
            lines.append(("limit", f"{number:,} of {total:,} rows of {name} were examined, chosen at random"))
        if unjudged := examination.num_unjudged[name]:
            lines.append(("not judged", f"{unjudged:,} of {number:,} rows of {name}: no other row has their label"))
    for (kind, splits), count in Counter((p.kind, p.splits) for p in examination.near_duplicates).items():
        pairs = [p for p in examination.near_duplicates if (p.kind, p.splits) == (kind, splits)]
        examples = (f"{second.where} = {first.where}" for first, second in (pair.records for pair in pairs[:_SHOWN]))
        between = splits[0] if len(set(splits)) == 1 else " and ".join(splits)
        lines.append((kind, f"{count:,} pair{'' if count == 1 else 's'} in {between}{_some(examples, count)}"))
    if examination.values:
        harmful = [record.where for record, value in examination.values if value < 0]
        total = len(examination.values)
        sentence = f"{len(harmful):,} of {total:,} rows of train mislead their nearest neighbours (negative value)"
        lines.append(("value", f"{sentence}{_some(harmful[:_SHOWN], len(harmful))}"))
    return lines + [("drift", drift.line()) for drift in examination.drift]


def _doubt(row: DoubtfulRow) -> str:
    return f"{row.record.where} {row.record.target!r} rather {row.suggested!r}"


def _some(examples: Iterable[str], count: int) -> str:
    shown = ", ".join([*examples, *(["..."] if count > _SHOWN else [])])
    return f": {shown}" if shown else ""


def row_to_dict(row: DoubtfulRow) -> dict[str, Any]:
    """Return a doubtful row for JSON."""
    return {
        "split": row.split,
        "where": row.record.where,
        "texts": list(row.record.texts),
        "label": row.record.target,
        "suggested_label": row.suggested,
        "score": row.score,
        "self_confidence": row.self_confidence,
        "neighbours": [{"where": n.where, "texts": list(n.texts)} for n in row.neighbours],
    }


def to_dict(examination: Examination) -> dict[str, Any]:
    """Return the examination for JSON, with the first of the doubtful rows."""
    return {
        "num_examined": dict(examination.num_examined),
        "num_unjudged": dict(examination.num_unjudged),
        "num_doubtful": {name: sum(row.split == name for row in examination.rows) for name in examination.num_examined},
        "rows": [row_to_dict(row) for row in examination.rows[:_MAX_EXAMPLES]],
        "near_duplicates": dict(Counter(pair.kind for pair in examination.near_duplicates)),
        "num_harmful": sum(value < 0 for _, value in examination.values),
        "drift": [drift.to_dict() for drift in examination.drift],
    }
