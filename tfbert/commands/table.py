"""Tables for a terminal: aligned columns, numbers on the right, cut to the width of the terminal."""

import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

_GAP = "  "
_INDENT = "    "
# A text column is not made narrower than this.
_MIN_WIDTH = 8
# Wrapped texts are not made narrower than this.
_MIN_WRAPPED_WIDTH = 40


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table that fits the terminal.

    Args:
        columns: the headings.
        rows: the cells of each row, one per column.
    """
    print("\n".join(table_lines(columns, rows, shutil.get_terminal_size().columns)))


def print_table_with_details(columns: Sequence[str], rows: Sequence[Sequence[str]], num_details: int) -> None:
    """Print a table that fits the terminal without being cut; see `table_lines_with_details`.

    Args:
        columns: the headings.
        rows: the cells of each row, one per column.
        num_details: the number of columns at the end that are printed together, as columns or as details.
    """
    print("\n".join(table_lines_with_details(columns, rows, shutil.get_terminal_size().columns, num_details)))


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


def table_lines_with_details(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, num_details: int
) -> list[str]:
    """Return the lines of a table whose last columns are details: indented lines below each row if they do not fit.

    If the table is too wide, the last `num_details` columns become details, such as `epochs=3  dropout=0.1`. Further
    columns follow, from the last one, until the table fits.

    Args:
        columns: the headings.
        rows: the cells of each row, one per column.
        width: maximum width of a line; a single detail or a first column that is longer exceeds it.
        num_details: the number of columns at the end that are printed together, as columns or as details.
    """
    num_columns = len(columns)
    lines = table_lines(columns, rows, sys.maxsize)
    while num_columns > 1 and max(map(_width, lines)) > width:
        num_columns -= num_details if num_details and num_columns == len(columns) else 1
        lines = table_lines(columns[:num_columns], [row[:num_columns] for row in rows], sys.maxsize)
    heading, *row_lines = lines
    with_details = [heading]
    for line, row in zip(row_lines, rows, strict=True):
        details = map("{}={}".format, columns[num_columns:], row[num_columns:])
        with_details += [line, *_detail_lines(details, width)]
    return with_details


def _detail_lines(details: Iterable[str], width: int) -> Iterator[str]:
    """Yield indented lines with as many details as fit on each."""
    line = ""
    for detail in details:
        longer = f"{line}{_GAP if line else _INDENT}{detail}"
        if line and _width(longer) > width:
            yield line
            longer = _INDENT + detail
        line = longer
    if line:
        yield line


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return the lines of a table: the headings, and one line per row.

    Columns of numbers are aligned on the right. If the table is too wide, its widest text columns are made narrower,
    and longer cells end in `…`.

    Args:
        columns: the headings.
        rows: the cells of each row, one per column.
        width: maximum width of a line, in columns of the terminal.
    """
    # It imports Matplotlib, for which --help should not wait.
    from tfbert.evaluation.formatting import is_number

    rows = [[" ".join(cell.split()) for cell in row] for row in rows]
    cells = list(zip(columns, *rows, strict=True))
    are_numbers = [bool(rows) and all(map(is_number, column[1:])) for column in cells]
    widths = _fitted([max(map(_width, column)) for column in cells], are_numbers, width)
    return [_cut(_GAP.join(map(_aligned, row, widths, are_numbers)).rstrip(), width) for row in [list(columns), *rows]]


def _fitted(widths: list[int], are_numbers: Sequence[bool], width: int) -> list[int]:
    """Return the widths of the columns, of which the widest text columns are reduced until the table fits."""
    widths = list(widths)
    narrowed = [index for index, is_number in enumerate(are_numbers) if not is_number]
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
