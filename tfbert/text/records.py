"""Streaming readers of labelled records from files and directories in all formats.

The modules `*_rows.py` parse the formats into rows (see `formats.py`); a task's `Schema` turns a row into a `Record`.
"""

import functools
import hashlib
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tfbert.config import DataConfig
from tfbert.files import sha256_of
from tfbert.text.readers.cells import parse_cell
from tfbert.text.readers.class_labels import INFO, class_names, read_info
from tfbert.text.readers.columns import Column, named_columns, shown, shown_json
from tfbert.text.readers.folders import visible
from tfbert.text.readers.formats import FORMATS, detect_format
from tfbert.text.readers.layout import Layout
from tfbert.text.readers.lines import Tally, check_encoding, find_surrogate
from tfbert.text.readers.rows import Row, Source

_EXPECTED_TEXT = "expected at least one non-whitespace character"
# Role of the column `data.group_column`.
_GROUP_ROLE = "group"
_MAX_LOOKAHEAD_ROWS = 1000  # rows read after a bad one to see whether any is a record
# Labels that other programs write in another form.
_WHOLE_NUMBER = re.compile(r"[+-]?\d+\.0+")
_TRUTH_VALUES = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}


@dataclass(frozen=True, slots=True)
class Record:
    """One labelled item of a file.

    Args:
        text: the first or only text, as in the file, including leading and trailing whitespace.
        target: the value to predict, which depends on the task: a label, a number, spans.
        where: the location of the record: `train.csv:41`, the line on which it starts, or the file `sports/199.txt`.
        others: further texts, such as the second text of a pair or the choices.
        group: an identifier; records of one group stay in one split. `None` means the text.
        subgroup: the value of the column `data.group_column`, stripped; `None` without the column or a value.
    """

    text: str
    target: Any
    where: str
    others: tuple[str, ...] = ()
    group: str | None = None
    subgroup: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts."""
        return (self.text, *self.others)

    @property
    def key(self) -> "RecordKey":
        """The location and the texts, with normalized whitespace, because spreadsheets change line ends."""
        return self.where, tuple(map(normalize_whitespace, self.texts))


# Identifies a record in a table that a person has edited.
RecordKey = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Schema:
    """Columns that a task reads, and the functions that turn rows into records.

    Args:
        columns: the columns of a record; formats with only a text and a label have the first and the last column.
        parse: function that turns a row into a record; the message of its `ValueError` does not contain the location.
        parser: function that returns `parse` for one file, if that depends on the config or on the whole file. Its
            arguments are the config and a function that returns an iterator over all rows of the file.
        labels_of: function that returns the labels of a record that train must contain; `None` if records have none.
        corrected: function that returns a record with the labels of its `text.corrections.Correction`s; `None` if
            labels cannot be corrected.
    """

    columns: tuple[Column, ...]
    parse: Callable[[Row], Record]
    parser: Callable[[DataConfig, Callable[[], Iterator[Row]]], Callable[[Row], Record]] | None = None
    labels_of: Callable[[Record], Iterable[str]] | None = None
    corrected: Callable[[Record, Sequence[Any]], Record] | None = None


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
    """Return a label, stripped of whitespace, in the same form for all file formats.

    Numbers and truth values become text. A whole number with zeros after the point, `1.0`, becomes `1`, and `True` and
    `TRUE` become `true`, also in text, because programs write the same column differently to csv, Excel and JSON files.

    Raises:
        ValueError: the value has another type, is empty or whitespace, or is not valid Unicode.
    """
    if isinstance(value, bool):
        value = json.dumps(value)
    elif isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        value = repr(value)
    elif not isinstance(value, str):
        raise ValueError(f"{role} is {shown_json(value)}; expected a string, a number, true or false")
    if not value.strip():
        raise ValueError(f"{role} is {shown(value)}; {_EXPECTED_TEXT}")
    if (position := find_surrogate(value)) is not None:
        raise ValueError(f"{value[position]!r} in {shown(value)} is a lone surrogate; expected valid Unicode")
    label = value.strip()
    if _WHOLE_NUMBER.fullmatch(label):
        return str(int(label.partition(".")[0]))
    return _TRUTH_VALUES.get(label, label)


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


def _with_group_column(schema: Schema, name: str | None) -> Schema:
    """Return a schema that also reads the column `data.group_column`, which a file may lack."""
    if name is None:
        return schema
    if not name.strip() or ", " in name:
        raise ValueError(f"data.group_column={name}: expected the name of one column, without a comma")
    # Formats with only a text and a label fill the first and the last column.
    *columns, last = schema.columns
    return replace(schema, columns=(*columns, Column(_GROUP_ROLE, name.strip().lower(), required=False), last))


def _subgroup_of(value: Any) -> str | None:
    """Return the group of a record, or `None` for an empty cell.

    Raises:
        ValueError: the value is a list or an object.
    """
    is_empty = isinstance(value, str) and not value.strip()
    return None if is_empty else label_of(value, "group")


class Reader:
    """Stream of the records of a file, or of a directory with one subdirectory per class or with brat's files.

    Every `iter()` starts a new pass.

    Attributes:
        path: the file or directory.
        name: the name of the file or directory in `where` and in messages.
        format: a value of `data.format` other than `auto`.
        tally: counts of the rows skipped and characters replaced so far by the latest pass.
        replacements: corrected records by the key of the record in the file; `None` leaves the record out.

    Raises:
        ValueError: while iterating, if there are no records, the columns cannot be determined, bytes cannot be decoded,
            quotes are unbalanced or, unless `data.bad_rows` is `skip`, a row is bad.
    """

    def __init__(
        self,
        path: Path,
        data: DataConfig,
        schema: Schema,
        root: Path | None = None,
        replacements: Mapping[RecordKey, Record | None] = MappingProxyType({}),
    ):
        self.path, self.data, self.replacements = path, data, replacements
        self.schema = _with_group_column(schema, data.group_column)
        self._root = root or (path if path.is_dir() else path.parent)
        self.name = (path.name or str(path)) if path == self._root else path.relative_to(self._root).as_posix()
        self.tally = Tally()
        named_columns(schema.columns, data.columns)
        check_encoding(data.encoding, "data")
        if data.delimiter != "auto" and (len(data.delimiter) != 1 or data.delimiter in '"\r\n'):
            raise ValueError(f"data.delimiter={data.delimiter}: expected auto, or one character such as ';'")
        self.format = detect_format(self._source(Tally(), Layout(self.name)))

    def __iter__(self) -> Iterator[Record]:
        tally = self.tally = Tally()
        num_records = 0
        layout = Layout(self.name)
        items = self._items(tally, layout)
        for item in items:
            if isinstance(item, Record):
                item = self.replacements.get(item.key, item) if self.replacements else item
                if item is not None:
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
            skipped = f"; {layout.skipped}" if layout.skipped else ""
            skipped += f"; skipped {tally.num_skipped}, first: {tally.skipped[0]}" if tally.skipped else ""
            raise ValueError(f"{self.name}: no records; expected at least one {FORMATS[self.format].record}{skipped}")

    @functools.cached_property
    def layout(self) -> Layout:
        """The layout of the file, which takes one pass over it; only the names of files in a directory are read.

        Raises:
            ValueError: the columns cannot be determined, bytes cannot be decoded, or quotes are unbalanced.
        """
        layout, tally = Layout(self.name), Tally()
        describe = FORMATS[self.format].describe
        if describe is not None:
            describe(self._source(tally, layout))
            return layout
        for _ in self._rows(tally, layout):
            pass
        layout.encoding = tally.encoding
        return layout

    @property
    def files(self) -> tuple[Path, ...]:
        """The files to read, in order."""
        files = FORMATS[self.format].files
        return (self.path,) if files is None else files(self.path)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Directory entries that are not read, such as files of other types."""
        if FORMATS[self.format].files is None:
            return ()
        read, unread = set(self.files), []
        has_folders = any(file.parent != self.path for file in read)
        for entry in visible(self.path):
            unread += [f for f in (visible(entry) if entry.is_dir() and has_folders else [entry]) if f not in read]
        return tuple(entry.relative_to(self._root).as_posix() for entry in unread)

    @functools.cached_property
    def sha256(self) -> str:
        """Hex digest of the file's bytes or, for a directory, of the names, sizes and bytes of its files in order.

        The digest of a file with label names in a `dataset_info.json` depends on these names too, and that of a file
        with corrected records on the corrections.
        """
        if self.replacements:
            targets = sorted(
                (*key, None if new is None else repr(new.target)) for key, new in self.replacements.items()
            )
            text = json.dumps([self.with_replacements({}).sha256, targets])
            return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        if FORMATS[self.format].files is None:
            digest = sha256_of(self.path)
            return hashlib.sha256(f"{digest} {json.dumps(self._info)}".encode()).hexdigest() if self._info else digest
        digest = hashlib.sha256()
        for path in self.files:
            content = path.read_bytes()
            name = path.relative_to(self.path).as_posix()
            digest.update(f"{name}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
        return digest.hexdigest()

    def with_replacements(self, replacements: Mapping[RecordKey, Record | None]) -> "Reader":
        """Return a reader of the same file that replaces some records, or leaves them out."""
        return Reader(self.path, self.data, self.schema, self._root, replacements)

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
                if (subgroup := row.values.get(_GROUP_ROLE)) is not None:
                    record = replace(record, subgroup=_subgroup_of(subgroup))
            except ValueError as error:
                record = f"{getattr(error, 'where', row.where)}: {error}"
            yield record

    def _rows(self, tally: Tally, layout: Layout) -> Iterator[Row | str]:
        """Yield the rows, or error messages, with the names of integer labels if they are known."""
        if self._info:
            layout.class_names, layout.class_names_from = self._info, INFO
        names, is_first = None, True
        for row in FORMATS[self.format].rows(self._source(tally, layout)):
            if is_first and isinstance(row, Row):  # now the columns are known
                names, is_first = class_names(self.data.label_names, layout), False
            if names is not None and isinstance(row, Row):
                try:
                    row = names.apply(row)
                except ValueError as error:
                    row = f"{row.where}: {error}"
            yield row

    @functools.cached_property
    def _info(self) -> dict[str, tuple[str, ...]]:
        return {} if self.path.is_dir() else read_info(self.path)

    def _source(self, tally: Tally, layout: Layout) -> Source:
        return Source(self.path, self.name, self.data, self.schema.columns, layout, tally, self._root)


def read_records(path: Path, data: DataConfig, schema: Schema = LABELLED_TEXT, *, root: Path | None = None) -> Reader:
    """Return a reader of a file or directory that can be iterated any number of times.

    Memory use does not grow with the file, except for arrays in JSON. Lines end only at LF, CRLF or a lone CR. Empty
    lines are skipped.

    Args:
        path: a file in one of the formats, possibly compressed, or a directory in one of the formats of directories.
        data: the data settings.
        schema: the schema of the task.
        root: the directory to which names in `where` are relative; `None` means `path` if it is a directory, else its
            parent.

    Raises:
        ValueError: the path does not exist, its format is unknown, `data.columns` has roles that the
            schema lacks, or the encoding is unknown.
    """
    return Reader(Path(path), data, schema, root)
