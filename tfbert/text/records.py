"""Streaming readers of labelled records from files in all formats and directories with one subdirectory per class.

The modules `*_rows.py` and `rows.py` parse the formats into rows; a task's `Schema` turns a row into a `Record`.
"""

import functools
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfbert.config import DataConfig
from tfbert.text.cells import parse_cell
from tfbert.text.columns import Column, named_columns, shown, shown_json
from tfbert.text.conll_rows import conll_rows, looks_like_conll
from tfbert.text.json_rows import json_rows, jsonl_rows
from tfbert.text.layout import Layout
from tfbert.text.lines import Tally, check_encoding, find_surrogate, read_lines
from tfbert.text.rows import FORMAT_OF_SUFFIX, Row, format_of, table_rows, text_rows

_EXPECTED_TEXT = "expected at least one non-whitespace character"
_MAX_LOOKAHEAD_ROWS = 1000  # rows read after a bad one to see whether any is a record
_MAX_CLASSES = 8  # shown in the layout of a directory with one subdirectory per class
BRAT_ADVICE = (
    ".ann files (brat's standoff format) are not supported; convert them to CoNLL columns or to JSON lines with "
    '{"text", "entities": [{"start", "end", "label"}]}'
)


@dataclass(frozen=True, slots=True)
class Record:
    """One labelled item of a file.

    Args:
        text: the first or only text, as in the file, including leading and trailing whitespace.
        target: the value to predict, which depends on the task: a label, a number, spans.
        where: the location of the record: `train.csv:41`, the line on which it starts, or the file `sports/199.txt`.
        others: further texts, such as the second text of a pair or the choices.
        group: an identifier; records of one group stay in one split. `None` means the text.
    """

    text: str
    target: Any
    where: str
    others: tuple[str, ...] = ()
    group: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts."""
        return (self.text, *self.others)


@dataclass(frozen=True)
class Schema:
    """Columns that a task reads, and the functions that turn rows into records.

    Args:
        columns: the columns of a record; formats with only a text and a label have the first and the last column.
        parse: function that turns a row into a record; the message of its `ValueError` does not contain the location.
        parser: function that returns `parse` for one file, if that depends on the config or on the whole file. Its
            arguments are the config and a function that returns an iterator over all rows of the file.
        labels_of: function that returns the labels of a record that train must contain; `None` if records have none.
    """

    columns: tuple[Column, ...]
    parse: Callable[[Row], Record]
    parser: Callable[[DataConfig, Callable[[], Iterator[Row]]], Callable[[Row], Record]] | None = None
    labels_of: Callable[[Record], Iterable[str]] | None = None


def text_of(row: Row, role: str = "text") -> str:
    """Return a text of a row.

    Raises:
        ValueError: the text is missing, not a string, empty or whitespace, or not valid Unicode.
    """
    value = row.values.get(role)
    if role not in row.values:
        raise ValueError(f"no column or key for the {role}; assign it with --set data.columns={role}=...")
    if not isinstance(value, str):
        raise ValueError(f"{role} is {shown_json(value)}; expected a string")
    if not value or value.isspace():
        raise ValueError(f"{role} is {shown(value)}; {_EXPECTED_TEXT}")
    if (position := find_surrogate(value)) is not None:
        raise ValueError(f"{value[position]!r} in {shown(value)} is a lone surrogate; expected valid Unicode")
    return value


def normalize_whitespace(text: str) -> str:
    """Strip a text and collapse inner whitespace to single spaces, which does not change its BERT tokens."""
    return " ".join(text.split())


def optional_text_of(row: Row, role: str) -> str | None:
    """Return a text of a row, or `None` if the row does not have the column.

    Raises:
        ValueError: the text is invalid, as for `text_of`.
    """
    return text_of(row, role) if row.values.get(role) is not None else None


def label_of(value: Any, role: str = "label") -> str:
    """Return a label, stripped of whitespace; integers and truth values become their JSON text.

    Raises:
        ValueError: the value has another type, is empty or whitespace, or is not valid Unicode.
    """
    if isinstance(value, bool):
        value = json.dumps(value)
    elif isinstance(value, int):
        value = str(value)
    elif not isinstance(value, str):
        raise ValueError(f"{role} is {shown_json(value)}; expected a string, an integer, true or false")
    if not value.strip():
        raise ValueError(f"{role} is {shown(value)}; {_EXPECTED_TEXT}")
    if (position := find_surrogate(value)) is not None:
        raise ValueError(f"{value[position]!r} in {shown(value)} is a lone surrogate; expected valid Unicode")
    return value.strip()


def one_label_of(value: Any, role: str = "label") -> str:
    """Return the label of a record, which may be the only item of a list.

    Some annotation tools write lists even if each text has one label. In tables, a cell contains such a list as text.

    Raises:
        ValueError: the list has no or several labels, or the label is invalid, as for `label_of`.
    """
    parsed = parse_cell(value) if isinstance(value, str) else value
    if isinstance(parsed, list) and len(parsed) != 1:
        expected = "expected one label; for several labels per text use --task multilabel"
        raise ValueError(f"{role} is {shown_json(parsed)}; {expected}")
    return label_of(parsed[0] if isinstance(parsed, list) else value, role)


TEXT = Column(
    "text",
    "text, sentence, review, utterance, query, message, content, comment, tweet, question, document, body, text1, "
    "sentence1, sentence_1, question1, premise",
)
LABEL = Column(
    "label", "label, labels, category, class, intent, sentiment, target, topic, emotion, polarity", is_target=True
)
LABELLED_TEXT = Schema(
    (TEXT, LABEL), lambda row: Record(text_of(row), one_label_of(row.values.get("label")), row.where)
)


class Reader:
    """Stream of the records of a file, or of a directory with one subdirectory per class.

    Every `iter()` starts a new pass.

    Attributes:
        path: the file or directory.
        name: the name of the file or directory in `where` and in messages.
        tally: counts of the rows skipped and characters replaced so far by the latest pass.

    Raises:
        ValueError: while iterating, if there are no records, the columns cannot be determined, bytes cannot be decoded,
            quotes are unbalanced or, unless `data.bad_rows` is `skip`, a row is bad.
    """

    def __init__(self, path: Path, data: DataConfig, schema: Schema, root: Path | None = None):
        self.path, self.data, self.schema = path, data, schema
        self.format = _format(path, data, schema)
        self._root = root or (path if path.is_dir() else path.parent)
        self.name = (path.name or str(path)) if path == self._root else path.relative_to(self._root).as_posix()
        self.tally = Tally()
        named_columns(schema.columns, data.columns)
        check_encoding(data.encoding, "data")
        if data.delimiter != "auto" and (len(data.delimiter) != 1 or data.delimiter in '"\r\n'):
            raise ValueError(f"data.delimiter={data.delimiter}: expected auto, or one character such as ';'")

    def __iter__(self) -> Iterator[Record]:
        tally = self.tally = Tally()
        num_records = 0
        items = self._items(tally, Layout(self.name))
        for item in items:
            if isinstance(item, Record):
                num_records += 1
                yield item
            elif self.data.bad_rows == "error":
                # If no row is a record, the advice to skip bad rows would not help.
                next_items = itertools.islice(items, _MAX_LOOKAHEAD_ROWS)
                has_record = num_records or any(isinstance(other, Record) for other in next_items)
                raise ValueError(f"{item}{' (--set data.bad_rows=skip skips such rows)' if has_record else ''}")
            else:
                tally.skip(item)
        if not num_records:
            skipped = f"; skipped {tally.num_skipped}, first: {tally.skipped[0]}" if tally.skipped else ""
            raise ValueError(f"{self.name}: no records; expected at least one {_EXPECTED[self.format]}{skipped}")

    @functools.cached_property
    def layout(self) -> Layout:
        """The layout of the file, which takes one pass over it; only the names of files in a directory are read.

        Raises:
            ValueError: the columns cannot be determined, bytes cannot be decoded, or quotes are unbalanced.
        """
        layout, tally = Layout(self.name, encoding=self.data.encoding), Tally()
        if self.format == "folder":
            counts = Counter(label for label, _ in _class_files(self.path))
            classes = [f"{shown(label)} {number:,}" for label, number in itertools.islice(counts.items(), _MAX_CLASSES)]
            classes += ["..."] * (len(counts) > _MAX_CLASSES)
            layout.kind = f"one directory per label: {', '.join(classes)}"
            layout.used = {"label": ["directory names"], "text": [".txt files"]}
            return layout
        for _ in self._rows(tally, layout):
            pass
        layout.encoding = tally.encoding
        return layout

    @property
    def files(self) -> tuple[Path, ...]:
        """The files to read, in order."""
        return tuple(file for _, file in _class_files(self.path)) if self.format == "folder" else (self.path,)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Directory entries that are not read: files other than `.txt`, and directories inside class directories."""
        if self.format != "folder":
            return ()
        read, unread = set(self.files), []
        for entry in _visible(self.path):
            unread += [file for file in (_visible(entry) if entry.is_dir() else [entry]) if file not in read]
        return tuple(entry.relative_to(self._root).as_posix() for entry in unread)

    @functools.cached_property
    def sha256(self) -> str:
        """Hex digest of the file's bytes or, for a directory, of the names, sizes and bytes of its files in order."""
        if self.format != "folder":
            with open(self.path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        for path in self.files:
            content = path.read_bytes()
            name = path.relative_to(self.path).as_posix()
            digest.update(f"{name}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
        return digest.hexdigest()

    @functools.cached_property
    def _parse(self) -> Callable[[Row], Record]:
        if self.schema.parser is None:
            return self.schema.parse
        return self.schema.parser(self.data, self._good_rows)

    def _good_rows(self) -> Iterator[Row]:
        return (row for row in self._rows(Tally(), Layout(self.name)) if isinstance(row, Row))

    def _items(self, tally: Tally, layout: Layout) -> Iterator[Record | str]:
        """Yield a record for each row, or an error message."""
        for row in self._rows(tally, layout):
            if isinstance(row, str):
                yield row
                continue
            try:
                record = self._parse(row)
            except ValueError as error:
                record = f"{getattr(error, 'where', row.where)}: {error}"
            yield record

    def _rows(self, tally: Tally, layout: Layout) -> Iterator[Row | str]:
        columns = self.schema.columns
        if self.format == "folder":
            for label, path in _class_files(self.path):
                name = path.relative_to(self._root).as_posix()
                text = "".join(read_lines(path, name, self.data, tally))
                yield Row(name, {columns[0].role: text, columns[-1].role: label})
            return
        lines = read_lines(self.path, self.name, self.data, tally)
        if self.format in ("csv", "tsv"):
            yield from table_rows(lines, self.name, self.data, columns, self.format, layout)
        else:
            yield from _ROWS[self.format](lines, self.name, self.data, columns, layout)


def read_records(path: Path, data: DataConfig, schema: Schema = LABELLED_TEXT, *, root: Path | None = None) -> Reader:
    """Return a reader of a file or directory that can be iterated any number of times.

    Memory use does not grow with the file, except for `json`. Lines end only at LF, CRLF or a lone CR. Empty lines are
    skipped.

    Args:
        path: a file in one of the formats, possibly gzipped (`.gz`), or a directory with one subdirectory per class.
        data: the data settings.
        schema: the schema of the task.
        root: the directory to which names in `where` are relative; `None` means `path` if it is a directory, else its
            parent.

    Raises:
        ValueError: the path does not exist, its name does not determine the format, `data.columns` has roles that the
            schema lacks, or the encoding is unknown.
    """
    return Reader(Path(path), data, schema, root)


_ROWS = {"jsonl": jsonl_rows, "json": json_rows, "text": text_rows, "conll": conll_rows}
_EXPECTED = {
    "csv": "row below the line of column names",
    "tsv": "row below the line of column names",
    "jsonl": "line with a JSON object",
    "json": "object in the array",
    "text": "line of text, separator and label",
    "conll": "line of word and tag",
    "folder": "subdirectory per class with .txt files",
}


def _format(path: Path, data: DataConfig, schema: Schema) -> str:
    if not path.exists():
        raise ValueError(f"{path}: no such file or directory")
    if path.is_dir():
        if data.format not in ("auto", "folder"):
            raise ValueError(f"{path}: is a directory; expected a file because data.format={data.format}")
        if any(file.suffix == ".ann" for folder in _visible(path) if folder.is_dir() for file in _visible(folder)):
            raise ValueError(f"{path}: {BRAT_ADVICE}")
        if any(column.role == "tags" for column in schema.columns):
            raise ValueError(
                f"{path}: a directory per class has only one label per text; for entities give a file with CoNLL "
                "columns or JSON lines"
            )
        return "folder"
    if data.format == "folder":
        raise ValueError(
            f"{path}: is a file; expected a directory with one subdirectory per class because data.format=folder"
        )
    name = format_of(path) if data.format == "auto" else data.format
    if name is None:
        known = ", ".join(FORMAT_OF_SUFFIX)
        raise ValueError(f"{path}: unknown file format; expected {known} (also with .gz), or --set data.format=...")
    may_have_tags = data.format == "auto" and name in ("text", "tsv") and any(c.role == "tags" for c in schema.columns)
    if may_have_tags and looks_like_conll(read_lines(path, path.name, data, Tally())):
        return "conll"
    return name


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _class_files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the class and path of each file, sorted by name."""
    for folder in _visible(path):
        if folder.is_dir():
            files = (file for file in _visible(folder) if file.is_file() and format_of(file) == "text")
            yield from ((folder.name, file) for file in files)
