"""Readers for csv and tsv tables, lines of `text<separator>label`, and fastText lines.

Each reader yields a `Row`, or an error message for a bad row, as the readers in `json_rows.py` and `conll_rows.py` do.
"""

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tfbert.config import DataConfig
from tfbert.text.columns import Column, ColumnFinder, listing, option, shown
from tfbert.text.layout import Layout

FORMAT_OF_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".json": "json",
    ".txt": "text",
    ".conll": "conll",
}
# Limits the memory for a quote that is never closed, which turns the rest of the file into one field.
MAX_FIELD_CHARACTERS = 2**24
_DELIMITERS = {"csv": ",;\t|", "tsv": "\t,;|"}  # in order of preference
_DELIMITER_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # Excel's first line that names the delimiter
_SNIFFED_LINES = 20  # the first row must end within these lines for its delimiter to be detected
_FASTTEXT = re.compile(r"(?:^|(?<=\s))__label__(\S+)(?:\s+|$)")


@dataclass(frozen=True, slots=True)
class Row:
    """Values of one record in a file.

    Args:
        where: the location of the row: `train.csv:41`, the line on which it starts, or the file `sports/199.txt`.
        values: role to value; text in tables, any JSON value in JSON.
        cells: names and values of all columns or keys, in the order of the file; empty in formats without names.
    """

    where: str
    values: dict[str, Any]
    cells: tuple[tuple[str, Any], ...] = ()


class RowError(ValueError):
    """Error in a row of several lines, with the location of the invalid line.

    Args:
        message: the message without the location.
        where: the location to report instead of the row's.
    """

    def __init__(self, message: str, where: str):
        super().__init__(message)
        self.where = where


def format_of(path: Path) -> str | None:
    """Return the format for a file's suffix, such as `csv` or `text`, or `None` if it is unknown."""
    return FORMAT_OF_SUFFIX.get(Path(path.name.lower().removesuffix(".gz")).suffix)


def table_rows(
    lines: Iterable[str],
    name: str,
    data: DataConfig,
    columns: Sequence[Column],
    kind: str,
    layout: Layout | None = None,
) -> Iterator[Row | str]:
    """Yield the rows of a `csv` or `tsv` file.

    Args:
        lines: the lines of the file.
        name: the name of the file in messages.
        data: the data settings.
        columns: the columns of the task.
        kind: `csv` or `tsv`, which determines the usual delimiters and quoting.
        layout: filled with the interpretation of the file.

    Raises:
        ValueError: the columns cannot be determined, or quotes are unbalanced.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD_CHARACTERS))  # applies to the whole process
    layout = layout or Layout(name)
    finder = ColumnFinder(columns, data, "column")
    table = _table(iter(lines), data, finder, kind)
    rows = csv.reader(table.lines, **table.dialect)
    has_header, names, plain_names, positions, unused = data.header == "auto", [], [], {}, []
    while True:
        where = f"{name}:{rows.line_num + 1 + table.num_dropped}"
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise ValueError(_quote_message(where, error, table.dialect["quoting"])) from None
        if row is None:
            break
        if row and not names:
            positions = finder.find(row, where) if has_header else finder.by_position(len(row), where)
            names = [cell.strip() for cell in row] if has_header else [str(n + 1) for n in range(len(row))]
            layout.kind = f"{kind} with {_delimiter_name(table.dialect['delimiter'])} between columns"
            layout.header = f"column names on line {where.rpartition(':')[2]}" if has_header else "no column names"
            plain_names = sorted(map(_plain, names))
            layout.set_used(names, positions)
            unused = [(position, layout.unused[key]) for position, key in enumerate(names) if key in layout.unused]
            if has_header:
                continue
            if _is_header(row, positions, columns):
                raise ValueError(f"{where}: names the columns ({listing(row)}); omit data.header=none")
        if not row:
            continue
        if len(row) != len(names):
            plural = "s" * (len(row) > 1)
            yield f"{where}: {len(row)} column{plural} ({listing(row)}); expected {len(names)}, as in the header"
        elif has_header and (sorted(map(_plain, row)) == plain_names or _is_header(row, positions, columns)):
            yield f"{where}: repeats the line of column names ({listing(row)}); remove it"
        else:
            for position, values in unused:
                if values.is_needed:
                    values.add(row[position])
            yield Row(where, _values_by_role(row, positions), tuple(zip(names, row, strict=True)))


class _Table(NamedTuple):
    lines: Iterator[str]
    dialect: dict[str, Any]
    num_dropped: int  # lines before the first one in `lines`


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


def _delimiter_name(delimiter: str) -> str:
    return {"\t": "TAB", " ": "space"}.get(delimiter, repr(delimiter))


def text_rows(
    lines: Iterable[str], name: str, data: DataConfig, columns: Sequence[Column], layout: Layout | None = None
) -> Iterator[Row | str]:
    """Yield a row per line of text, separator and label; lines are split at the last separator.

    The text has the role of the first column, the label that of the last. A first line with column names is skipped and
    determines the order of text and label. Files with `__label__` are read as fastText does.

    Source: the layout of fastText's supervised mode, Joulin et al. 2017.
    """
    layout = layout or Layout(name)
    stream = ((number, line.rstrip("\r\n")) for number, line in enumerate(lines, start=1))
    head = list(itertools.islice(((number, line) for number, line in stream if line), _SNIFFED_LINES))
    if not head:
        return
    first, stream = head[0], itertools.chain(head[1:], stream)
    roles, header = (columns[0].role, columns[-1].role), _header_order(first[1], data, columns)
    layout.used = {role: [name] for role, name in zip(roles, ("before the last", "after the last"), strict=True)}
    layout.kind = f"lines of text, {_delimiter_name(data.separator)} and label"
    layout.header = f"column names on line {first[0]}" if header else "no column names"
    rest = stream if header else itertools.chain([first], stream)
    if any(_FASTTEXT.search(line) for _, line in head):
        layout.kind = "fastText lines"
        layout.used = {roles[1]: ["words with __label__"], roles[0]: ["the other words"]}
        yield from _fasttext_rows(rest, name, roles)
        return
    label_names = set(columns[-1].usual_names.split(", ")) | set(columns[0].usual_names.split(", "))
    for number, line in rest:
        text, separator, label = line.rpartition(data.separator)
        if separator and _plain(label) in label_names and _header_order(line, data, columns):
            yield f"{name}:{number}: repeats the line of column names ({shown(line)}); remove it"
        elif separator:
            values = (label, text) if header == (1, 0) else (text, label)
            yield Row(f"{name}:{number}", dict(zip(roles, values, strict=True)))
        elif line:
            yield f"{name}:{number}: {_no_separator(line, data)}"


def _header_order(line: str, data: DataConfig, columns: Sequence[Column]) -> tuple[int, int] | None:
    """Return the positions of text and label in a header line, or `None` if the line is not a header."""
    text, separator, label = map(_plain, line.rpartition(data.separator))
    if not text or not label:
        return None
    if columns[0].key_among([text]) and columns[-1].key_among([label]):
        return 0, 1
    return (1, 0) if columns[0].key_among([label]) and columns[-1].key_among([text]) else None


def _fasttext_rows(lines: Iterable[tuple[int, str]], name: str, roles: tuple[str, str]) -> Iterator[Row | str]:
    for number, line in lines:
        labels, text = _FASTTEXT.findall(line), _FASTTEXT.sub("", line)
        if labels:
            label = labels[0] if len(labels) == 1 else labels
            yield Row(f"{name}:{number}", dict(zip(roles, (text, label), strict=True)))
        elif line:
            yield f"{name}:{number}: no __label__ in {shown(line)}; expected one, as in other lines"


def _no_separator(line: str, data: DataConfig) -> str:
    other = next((character for character in ",;|@" if character in line and character != data.separator), None)
    advice = f"; for another separator, such as {other!r}: {option('data.separator', other)}" if other else ""
    expected = f"expected the text, {data.separator!r} and the label"
    return f"no separator {data.separator!r} in {shown(line)}; {expected}{advice}"


def _is_header(row: Sequence[str], positions: Mapping[str, int | dict[str, int]], columns: Sequence[Column]) -> bool:
    """Return whether the cells to be read are usual column names, as in the header of another file."""
    usual = {name for column in columns for name in column.usual_names.split(", ")}
    cells = [_plain(row[position]) for position in positions.values() if isinstance(position, int)]
    return len(cells) > 1 and len(set(cells)) == len(cells) and all(cell in usual for cell in cells)


def _plain(name: str) -> str:
    # Concatenated files may have a byte order mark in the middle.
    return name.removeprefix("\ufeff").strip().casefold()


def _values_by_role(cells: Sequence, positions: Mapping[str, int | dict[str, int]]) -> dict[str, Any]:
    return {
        role: {name: cells[i] for name, i in position.items()} if isinstance(position, dict) else cells[position]
        for role, position in positions.items()
    }


def _quote_message(where: str, error: csv.Error, quoting: int) -> str:
    if quoting == csv.QUOTE_NONE:
        return f"{where}: {error}"
    return (
        f"{where}: unbalanced double quotes in the row that starts here ({error}); expected quotes around whole fields "
        "and doubled quotes inside them, or --set data.quoting=none if quotes are plain text"
    )
