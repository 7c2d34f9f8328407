"""Corrections of entities: spans that a person has given another type, added or removed."""

from collections.abc import Sequence

from tfbert.text.corrections import NO_ENTITY, Correction
from tfbert.text.readers.columns import shown
from tfbert.text.readers.rows import RowError
from tfbert.text.records import Record, normalize_whitespace
from tfbert.text.spans import Span, trimmed


def corrected_spans(record: Record, corrections: Sequence[Correction]) -> tuple[Span, ...]:
    """Return the entities of a record after corrections; those that no correction names stay as they are.

    A correction with the start and the end of an entity changes its type, or removes it if the type is `no entity`. A
    correction with another start or end adds an entity.

    Args:
        record: its target is the tuple of its spans.
        corrections: the corrections of this record, with different spans.

    Raises:
        ValueError: a correction has no span, its span is outside the text or has another text, or the entity to add
            overlaps another one.
    """
    by_span = {_checked_span(record, correction): correction for correction in corrections}
    spans, added = [], dict(by_span)
    for span in record.target:
        start, end, _ = trimmed(span, record.text)
        correction = by_span.get((start, end))
        added.pop((start, end), None)
        if correction is None:
            spans.append(span)
        elif correction.label != NO_ENTITY:
            spans.append(span._replace(label=correction.label))
    for (start, end), correction in added.items():
        if correction.label == NO_ENTITY:
            continue
        for other in spans:
            if other.start < end and start < other.end:
                raise RowError(
                    f"{correction.label!r} for [{start}:{end}] {shown(record.text[start:end])} overlaps {other} "
                    f"{shown(record.text[other.start : other.end])}; expected {NO_ENTITY!r} for that in another row",
                    correction.source,
                )
        spans.append(Span(start, end, correction.label))
    return tuple(spans)


def _checked_span(record: Record, correction: Correction) -> tuple[int, int]:
    """Return the span of a correction without whitespace at its ends."""

    def error(message: str) -> RowError:
        return RowError(message, correction.source)

    if correction.span is None:
        raise error(f"{correction.label!r} without start and end; expected the position of an entity in the text")
    start, end = correction.span
    if not 0 <= start < end <= len(record.text):
        raise error(f"[{start}:{end}] is outside the text; expected positions from 0 to {len(record.text)}")
    text = record.text[start:end]
    if not text.strip():
        raise error(f"[{start}:{end}] is {shown(text)}; expected at least one non-whitespace character")
    if correction.entity and normalize_whitespace(text) != correction.entity:
        raise error(f"[{start}:{end}] is {shown(text)}, but the table states {shown(correction.entity)}")
    start, end, _ = trimmed(Span(start, end, correction.label), record.text)
    return start, end
