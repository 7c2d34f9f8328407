"""Edits of a text, and the positions of spans after them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Edit(NamedTuple):
    """The replacement of an interval of a text.

    Args:
        start: the position of the first Unicode character.
        end: the exclusive end; equal to `start` for an insertion.
        replacement: the text that replaces the interval.
    """

    start: int
    end: int
    replacement: str


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """Return a text after edits that do not overlap, in ascending order."""
    pieces, position = [], 0
    for edit in edits:
        pieces += [text[position : edit.start], edit.replacement]
        position = edit.end
    return "".join([*pieces, text[position:]])


def shifted(start: int, end: int, edits: Iterable[Edit]) -> tuple[int, int]:
    """Return where an interval of a text is after edits.

    Insertions at its borders are outside of it. An edit that crosses a border belongs to the interval as a whole.

    Args:
        start: the start of the interval.
        end: its exclusive end, greater than `start`.
        edits: edits that do not overlap, in ascending order.
    """
    shift, new_start, new_end = 0, None, None
    for edit in edits:
        if new_start is None and edit.end > start:
            new_start = min(start, edit.start) + shift
        if edit.start >= end:
            break
        shift += len(edit.replacement) - (edit.end - edit.start)
        if edit.end > end:
            new_end = edit.end + shift
    return start + shift if new_start is None else new_start, end + shift if new_end is None else new_end


def keeping_spans(spans: Sequence[tuple[int, int]], edits: Iterable[Edit]) -> list[Edit]:
    """Return the edits that neither cross a border of a span nor replace a span by whitespace.

    Args:
        spans: start and exclusive end of each span.
        edits: edits in ascending order.
    """

    def keeps(edit: Edit, start: int, end: int) -> bool:
        if edit.end <= start or end <= edit.start:
            return True
        is_inside = start <= edit.start and edit.end <= end
        return is_inside and (edit.end - edit.start < end - start or bool(edit.replacement.strip()))

    return [edit for edit in edits if all(keeps(edit, *span) for span in spans)]
