"""Labelled texts from files: a path, a `DataConfig` and a task's `Schema` in, `Record` values out, streamed.

`rows.py` knows the formats; a schema says which columns a task wants and makes a record of a row.
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
from tfbert.text.cells import structured
from tfbert.text.columns import Column, named_columns, shown, shown_json
from tfbert.text.conll_rows import conll_rows, looks_like_conll
from tfbert.text.json_rows import json_rows, jsonl_rows
from tfbert.text.layout import Layout
from tfbert.text.lines import Tally, check_encoding, read_lines, surrogate
from tfbert.text.rows import FORMAT_OF_SUFFIX, Row, format_of, table_rows, text_rows

_BLANK = "wanted at least one character that is not blank"
_MAX_LOOKED_AHEAD = 1000  # rows after a bad one, to see whether any is a record
_MAX_CLASSES = 8  # shown of a directory per class
BRAT_ADVICE = (
    ".ann files, brat's standoff format, are not read; convert them to CoNLL columns or to JSON lines with "
    '{"text", "entities": [{"start", "end", "label"}]}'
)


@dataclass(frozen=True, slots=True)
class Record:
    """One labelled item of a file.

    Args:
        text: the first or only text, as the file has it, edge blanks included.
        target: what is to be learned of it, by the task: a label, a number, spans.
        where: `train.csv:41`, the line on which the record starts; in a folder `sports/199.txt`, its file.
        others: further texts: the second of a pair, the choices.
        group: records of one group stay in one split; `None` means that the text alone decides.
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
    """What a task wants of a file.

    Args:
        columns: that make a record; in formats that know a text and a label only, these are the first and the last.
        parse: makes a record of a row; a `ValueError` says what is wrong with it, without its place.
        parser: where that depends on the config or on the whole file: makes `parse` for one file, of the config and
            of what gives the file's rows afresh at every call.
        labels_of: labels of a record that have to be in train for it to be learned; `None` where there are none.
    """

    columns: tuple[Column, ...]
    parse: Callable[[Row], Record]
    parser: Callable[[DataConfig, Callable[[], Iterator[Row]]], Callable[[Row], Record]] | None = None
    labels_of: Callable[[Record], Iterable[str]] | None = None


def text_of(row: Row, role: str = "text") -> str:
    """Return a text of a row.

    Raises:
        ValueError: it is missing, no string, blank, or not valid Unicode.
    """
    value = row.values.get(role)
    if role not in row.values:
        raise ValueError(f"no column or key for the {role}; name it by --set data.columns={role}=...")
    if not isinstance(value, str):
        raise ValueError(f"{role} is {shown_json(value)}; wanted a string")
    if not value or value.isspace():
        raise ValueError(f"{role} is {shown(value)}; {_BLANK}")
    if (position := surrogate(value)) is not None:
        raise ValueError(f"{value[position]!r} in {shown(value)} is half a character; wanted valid Unicode")
    return value


def normalize_whitespace(text: str) -> str:
    """Return a text without edge whitespace and with single spaces inside: BERT's tokenizers see no difference."""
    return " ".join(text.split())


def optional_text_of(row: Row, role: str) -> str | None:
    """Return a text of a row, or `None` where the row has no such column.

    Raises:
        ValueError: as `text_of`.
    """
    return text_of(row, role) if row.values.get(role) is not None else None


def label_of(value: Any, role: str = "label") -> str:
    """Return the name of a label without edge blanks; a whole number or truth value is taken for its name.

    Raises:
        ValueError: it is something else, blank, or not valid Unicode.
    """
    if isinstance(value, bool):
        value = json.dumps(value)
    elif isinstance(value, int):
        value = str(value)
    elif not isinstance(value, str):
        raise ValueError(f"{role} is {shown_json(value)}; wanted a string, a whole number, true or false")
    if not value.strip():
        raise ValueError(f"{role} is {shown(value)}; {_BLANK}")
    if (position := surrogate(value)) is not None:
        raise ValueError(f"{value[position]!r} in {shown(value)} is half a character; wanted valid Unicode")
    return value.strip()


def one_label_of(value: Any, role: str = "label") -> str:
    """Return the name of a label, which may be the only one of a list.

    Annotation tools write lists of labels also where each text has one; tables may hold such a list in a cell.

    Raises:
        ValueError: several labels or none, or as `label_of`.
    """
    several = structured(value) if isinstance(value, str) else value
    if isinstance(several, list) and len(several) != 1:
        wish = "wanted one label; for several labels of a text use --task multilabel"
        raise ValueError(f"{role} is {shown_json(several)}; {wish}")
    return label_of(several[0] if isinstance(several, list) else value, role)


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
    """Streams the records of one file, or of one directory per class, afresh at every `iter()`.

    Attributes:
        path: what is read.
        name: how `where` and messages call it.
        tally: what the pass begun last has skipped and replaced so far.

    Raises:
        ValueError: on iterating, for no records, columns that cannot be told, bytes that do not decode, unbalanced
            quotes and, unless `data.bad_rows` is `skip`, the first row that is not a record.
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
                # Where no row is a record, to leave such rows out would leave nothing.
                further = itertools.islice(items, _MAX_LOOKED_AHEAD)
                helps = num_records or any(isinstance(other, Record) for other in further)
                raise ValueError(f"{item}{' (--set data.bad_rows=skip leaves such rows out)' if helps else ''}")
            else:
                tally.skip(item)
        if not num_records:
            skipped = f"; skipped {tally.num_skipped}, first: {tally.skipped[0]}" if tally.skipped else ""
            raise ValueError(f"{self.name}: no records; wanted at least one {_WANTED[self.format]}{skipped}")

    @functools.cached_property
    def layout(self) -> Layout:
        """How the file is interpreted, from a pass over all of it; of a directory per class, from its names alone.

        Raises:
            ValueError: columns that cannot be told, bytes that do not decode, or unbalanced quotes.
        """
        layout, tally = Layout(self.name, encoding=self.data.encoding), Tally()
        if self.format == "folder":
            counts = Counter(label for label, _ in _class_files(self.path))
            several = [f"{shown(label)} {number:,}" for label, number in itertools.islice(counts.items(), _MAX_CLASSES)]
            several += ["..."] * (len(counts) > _MAX_CLASSES)
            layout.kind = f"a directory for each label: {', '.join(several)}"
            layout.used = {"label": ["directory names"], "text": [".txt files"]}
            return layout
        for _ in self._rows(tally, layout):
            pass
        layout.encoding = tally.encoding
        return layout

    @property
    def files(self) -> tuple[Path, ...]:
        """The files read, in the order of reading."""
        return tuple(file for _, file in _class_files(self.path)) if self.format == "folder" else (self.path,)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names inside a directory per class that are not read: no `.txt` files, directories inside classes."""
        if self.format != "folder":
            return ()
        read, unread = set(self.files), []
        for entry in _visible(self.path):
            unread += [file for file in (_visible(entry) if entry.is_dir() else [entry]) if file not in read]
        return tuple(entry.relative_to(self._root).as_posix() for entry in unread)

    @functools.cached_property
    def sha256(self) -> str:
        """Hex digest: of the file's bytes; of a directory, the names, sizes and bytes of its files in order."""
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
        """Yield records, and a message for every bad row."""
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
    """Return a reader of `path` that can be iterated any number of times.

    Memory does not grow with the file, but for `json`. Lines end at LF, CRLF or a lone CR, and at nothing else. Lines
    without a character are no records.

    Args:
        path: a file in one of the formats, `.gz` or not, or a directory that holds one per class.
        data: format, columns, encoding and what to do with bad rows.
        schema: of the task.
        root: directory that names in `where` are relative to; `None` means the file's own, or the directory read.

    Raises:
        ValueError: no such path, a format that its name does not tell, `data.columns` that the schema does not have, or
            an unknown encoding.
    """
    return Reader(Path(path), data, schema, root)


_ROWS = {"jsonl": jsonl_rows, "json": json_rows, "text": text_rows, "conll": conll_rows}
_WANTED = {
    "csv": "row below the line of column names",
    "tsv": "row below the line of column names",
    "jsonl": "line with a JSON object",
    "json": "object in the array",
    "text": "line of text, separator and label",
    "conll": "line of word and tag",
    "folder": "directory per class with .txt files in it",
}


def _format(path: Path, data: DataConfig, schema: Schema) -> str:
    if not path.exists():
        raise ValueError(f"{path}: no such file or directory")
    if path.is_dir():
        if data.format not in ("auto", "folder"):
            raise ValueError(f"{path}: is a directory; wanted a file, as data.format={data.format} says")
        if any(file.suffix == ".ann" for folder in _visible(path) if folder.is_dir() for file in _visible(folder)):
            raise ValueError(f"{path}: {BRAT_ADVICE}")
        if any(column.role == "tags" for column in schema.columns):
            raise ValueError(
                f"{path}: a directory per class holds one label for each text, and entities are wanted; give a file "
                "with CoNLL columns or JSON lines"
            )
        return "folder"
    if data.format == "folder":
        raise ValueError(f"{path}: is a file; wanted a directory that holds one per class, as data.format=folder says")
    found = format_of(path) if data.format == "auto" else data.format
    if found is None:
        known = ", ".join(FORMAT_OF_SUFFIX)
        raise ValueError(f"{path}: the name tells no format; wanted {known} (also with .gz), or --set data.format=...")
    may_have_tags = data.format == "auto" and found in ("text", "tsv") and any(c.role == "tags" for c in schema.columns)
    if may_have_tags and looks_like_conll(read_lines(path, path.name, data, Tally())):
        return "conll"
    return found


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _class_files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield every class with each of its files, both in the order of their names."""
    for folder in _visible(path):
        if folder.is_dir():
            files = (file for file in _visible(folder) if file.is_file() and format_of(file) == "text")
            yield from ((folder.name, file) for file in files)
