"""Reader for csv and tsv tables: detection of the delimiter, and quoting."""

import csv
import itertools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from tfbert.config import DataConfig
from tfbert.text.readers.cell_rows import Cells, cell_rows
from tfbert.text.readers.columns import ColumnFinder, delimiter_name
from tfbert.text.readers.rows import Row, Source

# Limits the memory for a quote that is never closed, which turns the rest of the file into one field.
MAX_FIELD_CHARACTERS = 2**24
_DELIMITERS = {"csv": ",;\t|", "tsv": "\t,;|"}  # in order of preference
_DELIMITER_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # Excel's first line that names the delimiter
_SNIFFED_LINES = 20  # the first row must end within these lines for its delimiter to be detected


def table_rows(source: Source, kind: str) -> Iterator[Row | str]:
    """Yield the rows of a `csv` or `tsv` file.

    Args:
        source: the file.
        kind: `csv` or `tsv`, which determines the usual delimiters and quoting.

    Raises:
        ValueError: the columns cannot be determined, or quotes are unbalanced.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD_CHARACTERS))  # applies to the whole process
    finder = ColumnFinder(source.columns, source.data, "column")
    table = _table(source.lines(), source.data, finder, kind)
    source.layout.kind = f"{kind} with {delimiter_name(table.dialect['delimiter'])} between columns"
    return cell_rows(_cells(table, source.name), source, finder)


class _Table(NamedTuple):
    lines: Iterator[str]
    dialect: dict[str, Any]
    num_dropped: int  # lines before the first one in `lines`


def _cells(table: _Table, name: str) -> Iterator[Cells]:
    rows = csv.reader(table.lines, **table.dialect)
    while True:
        line = rows.line_num + 1 + table.num_dropped
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise ValueError(_quote_message(f"{name}:{line}", error, table.dialect["quoting"])) from None
        if row is None:
            return
        yield Cells(f"{name}:{line}", f"on line {line}", row)


def has_columns(lines: Iterator[str], source: Source, kind: str) -> bool:
    """Return whether the first row names the columns of the task; only the first 20 lines are read.

    The columns of `tsv` are then separated by TABs, and those of `csv` by any usual delimiter.
    """
    finder = ColumnFinder(source.columns, source.data, "column")
    head = list(itertools.islice(lines, _SNIFFED_LINES))
    delimiters = _DELIMITERS["csv"] if kind == "csv" else "\t"
    return any(_fit(head, delimiter, source.data, finder, kind)[0] > 0 for delimiter in delimiters)


def _table(lines: Iterator[str], data: DataConfig, finder: ColumnFinder, kind: str) -> _Table:
    """Determine the delimiter and the quoting of a table."""
    head = list(itertools.islice(lines, _SNIFFED_LINES))
    declared = _DELIMITER_LINE.fullmatch(head[0]) if head and kind in _DELIMITERS else None
    num_dropped = 1 if declared else 0
    if data.delimiter != "auto":
        delimiter = data.delimiter
    elif declared:
        delimiter = declared[1]
    else:
        usual = _DELIMITERS[kind]
        delimiter = max(
            usual, key=lambda character: (*_fit(head, character, data, finder, kind), -usual.index(character))
        )
    dialect = {"delimiter": delimiter, "quoting": _quoting(data, kind, delimiter), "strict": True}
    return _Table(itertools.chain(head[num_dropped:], lines), dialect, num_dropped)


def _fit(head: list[str], delimiter: str, data: DataConfig, finder: ColumnFinder, kind: str) -> tuple[int, int]:
    """Return the numbers of task columns (-1 if a required one is missing) and of all columns with a delimiter."""
    try:
        rows = csv.reader(head, delimiter=delimiter, quoting=_quoting(data, kind, delimiter), strict=True)
        row = next((row for row in rows if row), [])
    except csv.Error:
        return -1, 0
    try:
        return len(finder.find(row, "") if data.header == "auto" else finder.by_position(len(row), "")), len(row)
    except ValueError:
        return -1, len(row)


def _quoting(data: DataConfig, kind: str, delimiter: str) -> int:
    # A tsv file whose delimiter is not TAB was written by a tool that quotes fields as in csv.
    quoted = data.quoting == "minimal" or (data.quoting == "auto" and (kind == "csv" or delimiter != "\t"))
    return csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE


def _quote_message(where: str, error: csv.Error, quoting: int) -> str:
    if quoting == csv.QUOTE_NONE:
        return f"{where}: {error}"
    return (
        f"{where}: unbalanced double quotes in the row that starts here ({error}); expected quotes around whole fields "
        "and doubled quotes inside them, or --set data.quoting=none if quotes are plain text"
    )
