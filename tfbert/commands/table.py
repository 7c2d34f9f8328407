"""Tables for a terminal: aligned columns, numbers on the right, cut to the width of the terminal."""

import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Collection, Iterator, Sequence

_GAP = "  "
# A text column is not made narrower than this.
_MIN_WIDTH = 8
# Wrapped texts are not made narrower than this.
_MIN_WRAPPED_WIDTH = 40


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], uncut: Collection[int] = ()) -> None:
    """Print a table that fits the terminal.

    Args:
        columns: the headings.
        rows: the cells of each row, one per column.
        uncut: indices of text columns that are not made narrower.
    """
    print("\n".join(table_lines(columns, rows, shutil.get_terminal_size().columns, uncut)))


def print_sentences(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose last column has sentences, which are wrapped to the width of the terminal instead of cut.

    Args:
        columns: the headings.
        rows: the cells of each row, one per column.
    """
    print("\n".join(sentence_lines(columns, rows, shutil.get_terminal_size().columns)))


def sentence_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return the lines of a table whose last column is wrapped.

    Args:
        columns: the headings.
        rows: the cells of each row, one per column.
        width: maximum width of a line; words that are longer than the last column exceed it.
    """
    *others, _ = zip(columns, *rows, strict=True)
    left = sum(max(map(_width, cells)) + len(_GAP) for cells in others)
    sentence_width = max(width - left, _MIN_WRAPPED_WIDTH)

    def wrapped() -> Iterator[list[str]]:
        for *cells, sentence in rows:
            for line in textwrap.wrap(sentence, sentence_width, break_long_words=False) or [""]:
                yield [*cells, line]
                cells = [""] * len(cells)

    return table_lines(columns, list(wrapped()), sys.maxsize)


def table_lines(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, uncut: Collection[int] = ()
) -> list[str]:
    """Return the lines of a table: the headings, and one line per row.

    Columns of numbers are aligned on the right. If the table is too wide, its widest text columns are made narrower,
    and longer cells end in `…`.

    Args:
        columns: the headings.
        rows: the cells of each row, one per column.
        width: maximum width of a line, in columns of the terminal.
        uncut: indices of text columns that are not made narrower.
    """
    # It imports Matplotlib, for which --help should not wait.
    from tfbert.evaluation.formatting import is_number

    rows = [[" ".join(cell.split()) for cell in row] for row in rows]
    cells = list(zip(columns, *rows, strict=True))
    are_numbers = [bool(rows) and all(map(is_number, column[1:])) for column in cells]
    is_cut = [not number and index not in uncut for index, number in enumerate(are_numbers)]
    widths = _fitted([max(map(_width, column)) for column in cells], is_cut, width)
    return [_cut(_GAP.join(map(_aligned, row, widths, are_numbers)).rstrip(), width) for row in [list(columns), *rows]]


def _fitted(widths: list[int], is_cut: Sequence[bool], width: int) -> list[int]:
    """Return the widths of the columns, of which the widest that may be cut are reduced until the table fits."""
    widths = list(widths)
    narrowed = [index for index, cut in enumerate(is_cut) if cut]
    while narrowed and sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        widest = max(narrowed, key=widths.__getitem__)
        if widths[widest] <= _MIN_WIDTH:
            break
        widths[widest] -= 1
    return widths


def _aligned(cell: str, width: int, is_number: bool) -> str:
    cell = _cut(cell, width)
    padding = " " * (width - _width(cell))
    return padding + cell if is_number else cell + padding


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while text and _width(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _width(text: str) -> int:
    """Return the number of terminal columns that a text takes: two for wide characters, none for combining ones."""
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )
