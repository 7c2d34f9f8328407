"""Corrections of labels: a table of doubtful records in which a person has filled in the correct labels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfbert.config import DataConfig
from tfbert.nearest import did_you_mean
from tfbert.text.readers.columns import Column, shown
from tfbert.text.readers.rows import Row
from tfbert.text.records import Reader, Record, RecordKey, Schema, normalize_whitespace, read_records

# In the column `corrected_label`: the record is left out, or the span is no entity.
DROP, NO_ENTITY = "drop", "no entity"
WHERE, ENTITY, CORRECTED_LABEL = "where", "entity", "corrected_label"
_COLUMNS = (
    Column(WHERE, WHERE),
    Column("text", "text"),
    Column("text_pair", "text_pair", required=False),
    Column("start", "start", required=False),
    Column("end", "end", required=False),
    Column(ENTITY, ENTITY, required=False),
    Column(CORRECTED_LABEL, CORRECTED_LABEL),
)
_ADVICE = "list the doubtful rows again, or remove this line"


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person has filled in for a record.

    Args:
        source: the location in the table, such as `doubtful.csv:3`.
        where: the location of the record.
        texts: the texts of the record, with normalized whitespace, because spreadsheets change line ends.
        label: the correct label, as the person wrote it, or `DROP`.
        span: start and end of the entity that has the label, in Unicode characters; `None` for the whole record.
        entity: the text of the span, with normalized whitespace; empty if the table does not state it.
    """

    source: str
    where: str
    texts: tuple[str, ...]
    label: str
    span: tuple[int, int] | None = None
    entity: str = ""


@dataclass(frozen=True)
class CorrectionCounts:
    """Numbers of records of a file that were corrected.

    Args:
        num_changed: records with another label, or with other entities.
        num_dropped: records that were left out.
        num_confirmed: records whose label a person confirmed.
    """

    num_changed: int
    num_dropped: int
    num_confirmed: int

    def describe(self) -> str:
        """Return the numbers in words."""
        labels = f"{self.num_changed:,} label{'' if self.num_changed == 1 else 's'} changed"
        rows = f"{self.num_dropped:,} row{'' if self.num_dropped == 1 else 's'} dropped"
        return f"{labels}, {rows}, {self.num_confirmed:,} confirmed"


def read_corrections(path: Path) -> list[Correction]:
    """Return the corrections in a table, a file in any of the formats of data files. Rows without one are left out.

    Raises:
        ValueError: the table cannot be read, lacks a column, or has no corrections; or two rows correct the same.
    """
    if not path.is_file():
        raise ValueError(f"data.corrections={path}: no such file")
    corrections: dict[tuple, Correction] = {}
    for record in read_records(path, DataConfig(), Schema(_COLUMNS, _parse)):
        correction: Correction | None = record.target
        if correction is not None:
            key = (correction.where, correction.texts, correction.span)
            if key in corrections and corrections[key].label != correction.label:
                raise ValueError(f"{correction.source}: corrects the same as {corrections[key].source}; expected one")
            corrections[key] = correction
    if not corrections:
        raise ValueError(f"{path}: no cell of {CORRECTED_LABEL} is filled in; expected at least one correction")
    return list(corrections.values())


def _parse(row: Row) -> Record:
    values = row.values
    label = _cell(row, CORRECTED_LABEL)
    texts = tuple(normalize_whitespace(text) for role in ("text", "text_pair") if (text := _cell(row, role)))
    where = _cell(row, WHERE)
    span = None
    if label and label != DROP and _cell(row, "start"):
        span = (_position(values, "start"), _position(values, "end"))
    entity = normalize_whitespace(_cell(row, ENTITY))
    correction = Correction(row.where, where, texts, label, span, entity) if label else None
    return Record(values.get("text") or "", correction, row.where)


def _cell(row: Row, role: str) -> str:
    value = row.values.get(role)
    return "" if value is None else str(value).strip()


def _position(values: Mapping[str, object], role: str) -> int:
    text = str(values.get(role)).strip()
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{role} is {shown(text)}; expected a position in the text, in characters")
    return int(text)


def corrected_readers(
    readers: Sequence[Reader], corrections: Iterable[Correction], table: str
) -> list[tuple[Reader, str]]:
    """Return readers of the same files that yield corrected records, and for each a note about what was corrected.

    Every file is read once, to find the records of all corrections and the known labels.

    Args:
        readers: the readers of all files of the data; their schema can correct records.
        corrections: the corrections.
        table: the name of the table, for the notes.

    Raises:
        ValueError: a correction belongs to no record, or its record has another text; a label is unknown; or a file
            cannot be read.
    """
    by_key: dict[RecordKey, list[Correction]] = {}
    for correction in corrections:
        by_key.setdefault((correction.where, correction.texts), []).append(correction)
    locations = {where for where, _ in by_key}
    matches: list[dict[RecordKey, Record]] = []
    texts_at: dict[str, str] = {}
    labels: dict[str, None] = {}
    for reader in readers:
        matches.append({})
        for record in reader:
            labels |= dict.fromkeys(reader.schema.labels_of(record))
            if record.where in locations:
                texts_at[record.where] = " / ".join(record.texts)
                if record.key in by_key:
                    matches[-1][record.key] = record
    matched = {key for found in matches for key in found}
    for key, (correction, *_) in by_key.items():
        if key not in matched:
            raise ValueError(_mismatch(correction, texts_at))
    results = []
    for reader, found in zip(readers, matches, strict=True):
        changes = {key: _changed(reader, record, by_key[key], labels) for key, record in found.items()}
        counts = CorrectionCounts(
            num_changed=sum(new is not None and new.target != found[key].target for key, new in changes.items()),
            num_dropped=sum(new is None for new in changes.values()),
            num_confirmed=sum(new is not None and new.target == found[key].target for key, new in changes.items()),
        )
        note = f"{table}: {counts.describe()}" if changes else ""
        effective = {key: new for key, new in changes.items() if new is None or new.target != found[key].target}
        results.append((reader.with_replacements(effective) if effective else reader, note))
    return results


def _mismatch(correction: Correction, texts_at: Mapping[str, str]) -> str:
    if correction.where not in texts_at:
        return f"{correction.source}: the data has no record {correction.where}; {_ADVICE}"
    return (
        f"{correction.source}: {correction.where} now has the text {shown(texts_at[correction.where])}; expected "
        f"{shown(' / '.join(correction.texts))}; {_ADVICE}"
    )


def _changed(
    reader: Reader, record: Record, corrections: Sequence[Correction], labels: Mapping[str, None]
) -> Record | None:
    """Return the corrected record; `None` if it is to be left out."""
    for correction in corrections:
        is_reserved = correction.label == DROP or (correction.label == NO_ENTITY and correction.span)
        if is_reserved and correction.label in labels:
            raise ValueError(
                f"{correction.source}: {correction.label!r} is also a label of the data; change its file instead"
            )
    if any(correction.label == DROP for correction in corrections):
        return None
    try:
        new = reader.schema.corrected(record, corrections)
    except ValueError as error:
        source = getattr(error, "where", corrections[0].source)
        raise ValueError(f"{source}: {CORRECTED_LABEL}: {error}") from None
    for label in reader.schema.labels_of(new):
        if label not in labels:
            source = next((c.source for c in corrections if c.label == label), corrections[0].source)
            hint = did_you_mean(label, [*labels, DROP])
            raise ValueError(
                f"{source}: {CORRECTED_LABEL} {label!r} is not one of the {len(labels):,} labels of the data{hint}"
            )
    return new
