"""Tables of labelled texts on a page, such as mistakes: highlighted spans, and the data that the page's script filters.

The macro `text_table` in `parts.html.jinja` renders the result of `table_view`; `page.js` adds search, filters and
sorting, and shows all rows. Without JavaScript the first rows are shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from tfbert.evaluation.metric import LabelledSpan

_FIRST_ROWS, _MAX_ROWS = 20, 10_000
# Characters of one text, and of all texts of a table together.
_MIN_CHARACTERS, _MAX_CHARACTERS, _TOTAL_CHARACTERS = 300, 2000, 3_000_000
# Characters of a text, the name of their style, and notes to show after them. The style is empty for plain text; a
# letter and a strength from 1 to 3 for a word that contributes to the prediction (`p`) or contradicts it (`n`); or `s`
# and a number whose bit i says whether a span of source i covers them (the last bit stands for all further sources).
Piece = tuple[str, str, list[str]]
_LAST_BIT = 2
_ELLIPSIS = " … "
_NUM_STRENGTHS = 3
# Contributions below this fraction of the largest one are not shown.
_MIN_FRACTION = 0.1


@dataclass(frozen=True)
class Contribution:
    """What a word contributes to the prediction.

    Args:
        text: the position of its text in the row.
        start: the index of the first Unicode character.
        end: the end, exclusive.
        value: the contribution; negative for a word that contradicts the prediction.
    """

    text: int
    start: int
    end: int
    value: float


@dataclass(frozen=True)
class Similar:
    """A training example that resembles the texts of a row.

    Args:
        texts: its texts.
        label: its label, in words.
        similarity: from -1 to 1.
    """

    texts: tuple[str, ...]
    label: str
    similarity: float


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """The label of a text according to one source, such as the data or a model.

    Args:
        label: the label or labels as text.
        probability: the probability that a model gives it; `None` if there is none.
        is_wrong: whether to mark it as wrong.
        spans: the labelled intervals of the last text of the row.
    """

    label: str
    probability: float | None = None
    is_wrong: bool = False
    spans: tuple[LabelledSpan, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TextRow:
    """A row of the table.

    Args:
        texts: one or more texts that belong together, such as a question and its context.
        labellings: one per source, in the order of the sources.
        groups: combinations of labels, one per source each, by which the row can be found.
        categories: names by which the row can be found, whatever its labels.
        confidence: the probability to sort and filter by; `None` if there is none.
        where: the position in a file.
        note: shown after the labels.
        contributions: what the words contribute to the prediction, in order; not shown if there are spans.
        similar: training examples that resemble the texts, most similar first.
    """

    texts: tuple[str, ...]
    labellings: tuple[Labelling, ...]
    groups: tuple[tuple[str, ...], ...] = ()
    categories: tuple[str, ...] = ()
    confidence: float | None = None
    where: str | None = None
    note: str = ""
    contributions: tuple[Contribution, ...] = ()
    similar: tuple[Similar, ...] = ()


def table_view(rows: Sequence[TextRow], sources: Sequence[str]) -> dict[str, Any] | None:
    """Return the variable of the macro `text_table`; `None` without rows.

    Args:
        rows: in the order in which they are shown first; the page has at most 10,000 of them.
        sources: the name of each source of labels, such as `true` and `predicted`.
    """
    if not rows:
        return None
    shown = rows[:_MAX_ROWS]
    limit = min(_MAX_CHARACTERS, max(_MIN_CHARACTERS, _TOTAL_CHARACTERS // len(shown)))
    data = [_row_data(row, sources, limit) for row in shown]
    return {"sources": list(sources), "rows": data, "num_first": _FIRST_ROWS, "num_rows": len(rows)}


def link(section: str, labels: Mapping[str, str]) -> str:
    """Return a link that shows the rows with these labels in the table of a section of the page.

    Args:
        section: id of the section.
        labels: label by source.
    """
    return f"#{section}?{urlencode(labels)}"


def segments(text: str, spans: Sequence[Sequence[LabelledSpan]], sources: Sequence[str]) -> list[Piece]:
    """Split a text where spans start and end.

    Args:
        text: the text.
        spans: the labelled intervals of each source.
        sources: the names of the sources.

    Returns:
        The pieces of the text. Their notes are the labels of the spans that end there, preceded by the sources unless
        all agree.
    """
    holders: dict[LabelledSpan, list[int]] = {}
    for source, source_spans in enumerate(spans):
        for original in source_spans:
            span = replace(original, start=max(original.start, 0), end=min(original.end, len(text)))
            if span.start < span.end:
                holders.setdefault(span, []).append(source)
    borders = sorted({0, len(text), *(border for span in holders for border in (span.start, span.end))})
    pieces = []
    for start, end in zip(borders, borders[1:], strict=False):
        covering = {source for span, held in holders.items() if span.start <= start < span.end for source in held}
        ending = {span: held for span, held in holders.items() if span.end == end}
        notes = [
            span.label
            if len(held) == len(sources)
            else f"{', '.join(sources[source] for source in held)} {span.label}".strip()
            for span, held in ending.items()
        ]
        bits = sum(1 << bit for bit in {min(source, _LAST_BIT) for source in covering})
        pieces.append((text[start:end], f"s{bits}" if bits else "", list(filter(None, notes))))
    return pieces


def _row_data(row: TextRow, sources: Sequence[str], limit: int) -> dict[str, Any]:
    """Return a row as `page.js` reads it."""
    pieces: list[Piece] = []
    for index, text in enumerate(row.texts):
        is_last = index == len(row.texts) - 1
        spans = [labelling.spans if is_last else () for labelling in row.labellings]
        first, last = _kept(len(text), spans, max(limit // len(row.texts), 1))
        moved = [[replace(s, start=s.start - first, end=s.end - first) for s in source_spans] for source_spans in spans]
        pieces += [("\n\n", "", [])] if index else []
        pieces += [(_ELLIPSIS, "", [])] if first else []
        if row.contributions and not any(spans):
            pieces += _contribution_pieces(text[:last], index, row.contributions)
        else:
            pieces += segments(text[first:last], moved, sources)
        pieces += [(f"{_ELLIPSIS}and {len(text) - last:,} more characters", "", [])] if last < len(text) else []
    return {
        "text": pieces,
        "labels": [(labelling.label, labelling.probability, labelling.is_wrong) for labelling in row.labellings],
        "groups": list(dict.fromkeys(row.groups)),
        "categories": row.categories,
        "confidence": row.confidence,
        "where": row.where,
        "note": row.note,
        "similar": [(f"{s.similarity:.2f}", s.label, _beginning(" | ".join(s.texts))) for s in row.similar],
    }


def _beginning(text: str) -> str:
    return text if len(text) <= _MIN_CHARACTERS else text[:_MIN_CHARACTERS] + _ELLIPSIS.rstrip()


def _contribution_pieces(text: str, index: int, contributions: Sequence[Contribution]) -> list[Piece]:
    """Return the pieces of a text, with styles by the sign and the size of the contributions of words.

    Args:
        text: the text, or its beginning.
        index: its position in the row.
        contributions: those of all texts of the row.
    """
    largest = max(abs(word.value) for word in contributions)
    pieces: list[Piece] = []
    position = 0
    for word in contributions:
        if word.text != index or word.end > len(text) or abs(word.value) <= _MIN_FRACTION * largest:
            continue
        strength = min(1 + int(_NUM_STRENGTHS * abs(word.value) / largest), _NUM_STRENGTHS)
        pieces.append((text[position : word.start], "", []))
        pieces.append((text[word.start : word.end], f"{'p' if word.value > 0 else 'n'}{strength}", []))
        position = word.end
    pieces.append((text[position:], "", []))
    return [piece for piece in pieces if piece[0]]


def _kept(length: int, spans: Sequence[Sequence[LabelledSpan]], limit: int) -> tuple[int, int]:
    """Return the start and the end of the part of a text that is shown: its beginning, or the part with the spans."""
    starts = [span.start for source_spans in spans for span in source_spans]
    ends = [span.end for source_spans in spans for span in source_spans]
    first = 0
    if max(ends, default=0) > limit:
        first = max(0, min(min(starts) - limit // 4, length - limit))
    return first, min(length, first + limit)
