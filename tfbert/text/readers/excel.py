"""Reader for Excel workbooks (.xlsx): one sheet with a row of column names."""

import datetime
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from tfbert.extras import import_library
from tfbert.nearest import did_you_mean
from tfbert.text.readers.cell_rows import BadCell, Cells, cell_rows
from tfbert.text.readers.columns import ColumnFinder, listing, option, shown
from tfbert.text.readers.compression import DECOMPRESSION_ERRORS
from tfbert.text.readers.rows import Row, Source

# Results of formulas that failed.
_ERRORS = frozenset(["#N/A", "#REF!", "#DIV/0!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!"])
_DATES = (datetime.date, datetime.time, datetime.timedelta)
# Raised for a damaged workbook. An XML parser reports damage as a SyntaxError.
_READ_ERRORS = (*DECOMPRESSION_ERRORS, SyntaxError, ValueError, LookupError, TypeError)


def excel_rows(source: Source) -> Iterator[Row | str]:
    """Yield the rows of the sheet `data.sheet`, or of the only sheet that is not empty.

    Cells become the text that a csv file would contain: `1` for 1.0, `true` for TRUE, and an empty text for an empty
    cell. Dates and failed formulas in the columns that are read are errors. Empty rows are skipped.

    Raises:
        ValueError: openpyxl is not installed, the file is not a workbook or damaged, or the sheet or the columns cannot
            be determined.
    """
    openpyxl = import_library("openpyxl", "Excel workbooks", "files")
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(source.binary())
            workbook = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        except _READ_ERRORS as error:
            raise ValueError(f"{source.name}: cannot be read as an Excel workbook: {error}") from None
        stack.callback(workbook.close)
        sheet = _sheet(workbook, source)
        source.layout.kind = f"Excel sheet {shown(sheet.title)}"
        finder = ColumnFinder(source.columns, source.data, "column")
        yield from cell_rows(_cells(sheet, source.name), source, finder)


def _sheet(workbook: Any, source: Source) -> Any:
    sheets = {sheet.title: sheet for sheet in workbook.worksheets}
    for sheet in sheets.values():
        sheet.reset_dimensions()  # some programs write wrong dimensions
    title = source.data.sheet
    if title is not None:
        if title not in sheets:
            hint = did_you_mean(title, sheets)
            raise ValueError(f"{source.name}: no sheet {shown(title)} among {listing(list(sheets))}{hint}")
        return sheets[title]
    filled = [sheet for sheet in sheets.values() if any(_has_value(row) for _, row in _rows(sheet, source.name))]
    if len(filled) > 1:
        titles = [sheet.title for sheet in filled]
        expected = f"expected the name of one with {option('data.sheet', titles[0])}"
        raise ValueError(f"{source.name}: has several sheets: {listing(titles)}; {expected}")
    return (filled or list(sheets.values()))[0]


def _has_value(row: tuple) -> bool:
    return any(value is not None for value in row)


def _rows(sheet: Any, name: str) -> Iterator[tuple[int, tuple]]:
    """Yield the number, from 1, and the values of each row of a sheet."""
    number = 0
    try:
        for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
            yield number, tuple(row)
    except _READ_ERRORS as error:
        raise ValueError(f"{name}: sheet {shown(sheet.title)} cannot be read after row {number}: {error}") from None


def _cells(sheet: Any, name: str) -> Iterator[Cells]:
    """Yield the rows that are not empty, all with the columns of the first one or more."""
    num_columns = 0
    for number, row in _rows(sheet, name):
        if not _has_value(row):
            continue
        while row and len(row) > num_columns and row[-1] is None:
            row = row[:-1]
        values = [_text(value) for value in row] + [""] * (num_columns - len(row))
        num_columns = num_columns or len(values)
        yield Cells(f"{name}: sheet {shown(sheet.title)} row {number}", f"in row {number}", values)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return BadCell(value, f"contains the error {value}; expected text or a number") if value in _ERRORS else value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, _DATES):
        advice = "expected text or a number; if Excel turned a text into a date, format the cell as text and retype it"
        return BadCell(str(value), f"contains the date {value}; {advice}")
    return str(int(value)) if float(value).is_integer() else repr(value)
