"""Labelled texts from files: csv, tsv, jsonl, lines of `text<separator>label`, or a directory per class.

In: a path and a `DataConfig`. Out: a `Reader`, which streams `Record` values afresh at every `iter()`.
"""

import codecs
import csv
import difflib
import functools
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfbert.config import DataConfig

FORMAT_OF_SUFFIX = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".txt": "text"}
USUAL_NAMES = {
    "text": "text, sentence, review, utterance, query, message, content, comment, tweet, question, document, body",
    "label": "label, labels, category, class, intent, sentiment, target, topic, emotion, polarity",
}
# A quote that is never closed makes one field of the rest of the file; this bounds what it can take of memory.
LONGEST_FIELD = 2**24
MAX_SKIPPED_KEPT = 20
SHOWN_CHARACTERS, SHOWN_VALUES = 40, 8  # of a value, and of the columns of a row, in messages


@dataclass(frozen=True, slots=True)
class Record:
    """One labelled text.

    Args:
        text: as the file has it, edge blanks included.
        label: without edge blanks; `None` where the file has no label, which only `labelled=False` allows.
        where: `train.csv:41`, the line on which the record starts; in a folder `sports/199.txt`, its file.
    """

    text: str
    label: str | None
    where: str


@dataclass(slots=True)
class Tally:
    """What one pass over a file left out or changed.

    Args:
        num_skipped: bad rows left out.
        skipped: the messages of the first 20 of them.
        num_replaced: characters put as U+FFFD for bytes that did not decode.
    """

    num_skipped: int = 0
    skipped: list[str] = field(default_factory=list)
    num_replaced: int = 0

    def skip(self, message: str) -> None:
        """Count a bad row, and keep its message if it is among the first."""
        self.num_skipped += 1
        if len(self.skipped) < MAX_SKIPPED_KEPT:
            self.skipped.append(message)


class Reader:
    """Streams the records of one file, or of one directory per class, afresh at every `iter()`.

    Attributes:
        path: what is read.
        name: how `where` and messages call it.
        tally: what the pass begun last has skipped and replaced so far.

    Raises:
        ValueError: on iterating, for no records, no text or label column, bytes that do not decode, unbalanced quotes
            and, unless `data.bad_rows` is `skip`, the first row that is not a record.
    """

    def __init__(self, path: Path, data: DataConfig, labelled: bool = True, root: Path | None = None):
        self.path, self.data, self.labelled = path, data, labelled
        self.format = _format(path, data)
        self._root = root or (path if path.is_dir() else path.parent)
        self.name = (path.name or str(path)) if path == self._root else path.relative_to(self._root).as_posix()
        self.tally = Tally()
        try:
            " ".encode(data.encoding)
        except (LookupError, UnicodeError):
            wish = "wanted the name of a text encoding, such as utf-8, cp1252 or gb18030"
            raise ValueError(f"data.encoding={data.encoding}: {wish}") from None

    def __iter__(self) -> Iterator[Record]:
        tally = self.tally = Tally()
        num_records = 0
        for item in self._items(tally):
            if isinstance(item, Record):
                num_records += 1
                yield item
            elif self.data.bad_rows == "error":
                raise ValueError(f"{item} (--set data.bad_rows=skip leaves such rows out)")
            else:
                tally.skip(item)
        if not num_records:
            skipped = f"; skipped {tally.num_skipped}, first: {tally.skipped[0]}" if tally.skipped else ""
            raise ValueError(f"{self.name}: no records; wanted at least one {_WANTED[self.format]}{skipped}")

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

    def _items(self, tally: Tally) -> Iterator[Record | str]:
        """Yield records, and a message for every bad row."""
        if self.format == "folder":
            for label, path in _class_files(self.path):
                name = path.relative_to(self._root).as_posix()
                yield _record(name, "".join(_lines(path, name, self.data, tally)), label, self.labelled)
            return
        lines = _lines(self.path, self.name, self.data, tally)
        parse = {"jsonl": self._from_jsonl, "text": self._from_text}.get(self.format, self._from_table)
        yield from parse(lines)

    def _from_table(self, lines: Iterable[str]) -> Iterator[Record | str]:
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))  # of the whole process; it is never lowered
        quoted = self.data.quoting == "minimal" or (self.data.quoting == "auto" and self.format == "csv")
        quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        rows = csv.reader(lines, delimiter="," if self.format == "csv" else "\t", quoting=quoting, strict=True)
        num_columns, text_at, label_at = 0, 0, None
        while True:
            where = f"{self.name}:{rows.line_num + 1}"
            try:
                row = next(rows, None)
            except csv.Error as error:
                raise ValueError(_quote_message(where, error, quoted)) from None
            if row is None:
                break
            if row and not num_columns:
                num_columns = len(row)
                text_at, label_at = self._find_columns(row, where)
            elif row and len(row) != num_columns:
                plural = "s" * (len(row) > 1)
                yield f"{where}: {len(row)} column{plural} ({_listing(row)}); wanted {num_columns}, as in the header"
            elif row:
                yield _record(where, row[text_at], None if label_at is None else row[label_at], self.labelled)

    def _from_text(self, lines: Iterable[str]) -> Iterator[Record | str]:
        for number, ended in enumerate(lines, start=1):
            where, line = f"{self.name}:{number}", ended.rstrip("\r\n")
            text, separator, label = line.rpartition(self.data.separator)
            if separator:
                yield _record(where, text, label, self.labelled)
            elif line and not self.labelled:
                yield _record(where, line, None, False)
            elif line:
                wish = f"wanted the text, {self.data.separator!r} and the label"
                yield f"{where}: no separator {self.data.separator!r} in {_short(line)}; {wish}"

    def _from_jsonl(self, lines: Iterable[str]) -> Iterator[Record | str]:
        text_key = label_key = None
        for number, line in enumerate(lines, start=1):
            where = f"{self.name}:{number}"
            if not line.strip():
                continue
            try:
                row = json.loads(line.rstrip("\r\n"))
            except (ValueError, RecursionError) as error:
                place = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
                yield f"{where}: not JSON ({getattr(error, 'msg', error)}{place}); wanted one object on each line"
                continue
            if not isinstance(row, dict):
                yield f"{where}: {_short_json(row)} is not an object; wanted one object on each line"
                continue
            if text_key is None:
                keys = list(row)
                text_at, label_at = self._find_columns(keys, where)
                text_key, label_key = keys[text_at], None if label_at is None else keys[label_at]
            yield _from_object(where, row, text_key, label_key, self.labelled)

    def _find_columns(self, columns: Sequence[str], where: str) -> tuple[int, int | None]:
        """Return the positions of text and label; the label's may be `None` where none is required."""
        names = [column.strip() for column in columns]
        given = {"text": self.data.text_column, "label": self.data.label_column}
        found: dict[str, int | None] = {}
        for role in sorted(given, key=lambda role: given[role] is None):  # named ones first: they are then taken
            if given[role] is None:
                usual = [i for i, name in enumerate(names) if name.lower() in USUAL_NAMES[role].split(", ")]
                matches = [i for i in usual if i not in found.values()]
            else:
                matches = [i for i, name in enumerate(names) if name == given[role]]
            if len(matches) != 1 and (role == "text" or self.labelled):
                raise ValueError(f"{where}: {self._column_message(names, matches, role, given[role])}")
            found[role] = matches[0] if len(matches) == 1 else None
        if found["text"] == found["label"]:
            raise ValueError(f"{where}: text and label are both {_short(given['text'])}; wanted two different ones")
        return found["text"], found["label"]

    def _column_message(self, names: list[str], matches: list[int], role: str, given: str | None) -> str:
        option, noun = f"data.{role}_column", "key" if self.format == "jsonl" else "column"
        if matches:
            several = _listing([names[i] for i in matches])
            wish = f"--set {option}={names[matches[0]]}" if given is None else f"a different name for each {noun}"
            return f"more than one {noun} could be the {role}: {several}; wanted one, such as {wish}"
        if given is not None:
            nearest = _listing(difflib.get_close_matches(given, names, n=1, cutoff=0.0))
            return f"{option}={given} is not one of the {noun}s {_listing(names)}; nearest is {nearest}"
        message, hint = f"no {role} {noun} among {_listing(names)}", ""
        if noun == "column":
            message += ", which the first line was taken to name"
            hint = "; lines of text, separator and label without column names are --set data.format=text"
        wish = f"wanted one of {USUAL_NAMES[role]}, or its name by --set {option}=..."
        return f"{message}; {wish}{hint}"


def read_records(path: Path, data: DataConfig, *, labelled: bool = True, root: Path | None = None) -> Reader:
    """Return a reader of `path` that can be iterated any number of times, in memory that does not grow with the file.

    Lines end at LF, CRLF or a lone CR, and at nothing else. Lines without a character are no records.

    Args:
        path: a `.csv`, `.tsv`, `.jsonl` or `.txt` file, `.gz` or not, or a directory that holds one per class.
        data: format, columns, encoding and what to do with bad rows.
        labelled: whether a record must have a label. Where not, a label that is there is still given, a missing or
            ambiguous label column is no error, and a `text` line without the separator is all text.
        root: directory that names in `where` are relative to; `None` means the file's own, or the directory read.

    Raises:
        ValueError: no such path, a format that its name does not tell, or an unknown encoding.
    """
    return Reader(Path(path), data, labelled, root)


def format_of(path: Path) -> str | None:
    """Return the format that a file's name tells (`csv`, `tsv`, `jsonl` or `text`), or `None`."""
    return FORMAT_OF_SUFFIX.get(Path(path.name.lower().removesuffix(".gz")).suffix)


_WANTED = {
    "csv": "row below the line of column names",
    "tsv": "row below the line of column names",
    "jsonl": "line with a JSON object",
    "text": "line of text, separator and label",
    "folder": "directory per class with .txt files in it",
}


def _format(path: Path, data: DataConfig) -> str:
    if not path.exists():
        raise ValueError(f"{path}: no such file or directory")
    if path.is_dir():
        if data.format not in ("auto", "folder"):
            raise ValueError(f"{path}: is a directory; wanted a file, as data.format={data.format} says")
        return "folder"
    if data.format == "folder":
        raise ValueError(f"{path}: is a file; wanted a directory that holds one per class, as data.format=folder says")
    found = format_of(path) if data.format == "auto" else data.format
    if found is None:
        known = ", ".join(FORMAT_OF_SUFFIX)
        raise ValueError(f"{path}: the name tells no format; wanted {known} (also with .gz), or --set data.format=...")
    return found


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _class_files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield every class with each of its files, both in the order of their names."""
    for folder in _visible(path):
        if folder.is_dir():
            files = (file for file in _visible(folder) if file.is_file() and format_of(file) == "text")
            yield from ((folder.name, file) for file in files)


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Put a lone surrogate, which no decoder gives, for bytes that do not decode: so their line is found afterwards."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return chr(0xDC00 + error.object[error.start]), error.end


codecs.register_error("tfbert.mark", _mark)


def _surrogate(text: str) -> int | None:
    """Return the position of the first lone surrogate, or `None`."""
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def _lines(path: Path, name: str, data: DataConfig, tally: Tally) -> Iterator[str]:
    """Yield the lines of a file with their ends, without its byte order mark."""
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rt", encoding=data.encoding, errors="tfbert.mark", newline="") as file:
            for number, line in enumerate(file, start=1):
                text = line.removeprefix("\ufeff") if number == 1 else line
                position = _surrogate(text)
                yield text if position is None else _replaced(text, position, f"{name}:{number}", data, tally)
    except (OSError, EOFError, UnicodeError, zlib.error) as error:
        raise ValueError(f"{name}: cannot be read: {error}") from error


def _replaced(line: str, position: int, where: str, data: DataConfig, tally: Tally) -> str:
    if data.encoding_errors == "strict":
        raise ValueError(
            f"{where}: byte 0x{ord(line[position]) - 0xDC00:02X} is not {data.encoding}; wanted the file's own "
            "encoding (cp1252, mac_roman, ...) by --set data.encoding=..., or --set data.encoding_errors=replace"
        )
    line, num_replaced = re.subn("[\udc00-\udcff]", "\ufffd", line)
    tally.num_replaced += num_replaced
    return line


def _record(where: str, text: str, label: str | None, labelled: bool) -> Record | str:
    """Return the record, or what is wrong with the row."""
    if not text or text.isspace():
        return f"{where}: text is {_short(text)}; wanted at least one character that is not blank"
    stripped = (label or "").strip() or None
    if stripped is None and labelled:
        return f"{where}: label is {_short(label or '')}; wanted at least one character that is not blank"
    for value in (text, stripped or ""):
        if (position := _surrogate(value)) is not None:
            return f"{where}: {value[position]!r} in {_short(value)} is half a character; wanted valid Unicode"
    return Record(text, stripped, where)


def _quote_message(where: str, error: csv.Error, quoted: bool) -> str:
    if not quoted:
        return f"{where}: {error}"
    return (
        f"{where}: unbalanced double quotes in the row that starts here ({error}); wanted quotes around whole fields "
        "and inner ones doubled, or --set data.quoting=none where quotes are plain text"
    )


def _from_object(where: str, row: dict, text_key: str, label_key: str | None, labelled: bool) -> Record | str:
    for key in (text_key, label_key) if labelled else (text_key,):
        if key not in row:
            return f"{where}: no key {_short(key)} among {_listing(list(row))}; wanted it in every object"
    text, label = row[text_key], row.get(label_key)
    if not isinstance(text, str):
        return f"{where}: text is {_short_json(text)}; wanted a string"
    if isinstance(label, bool):
        label = json.dumps(label)
    elif isinstance(label, int):
        label = str(label)
    elif not isinstance(label, str):
        if labelled:
            return f"{where}: label is {_short_json(label)}; wanted a string, a whole number, true or false"
        label = None
    return _record(where, text, label, labelled)


def _cut(shown: str) -> str:
    return shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[: SHOWN_CHARACTERS - 3]}..."


def _short(value: str) -> str:
    return repr(_cut(value))


def _short_json(value: Any) -> str:
    return _cut(json.dumps(value, ensure_ascii=False)).encode(errors="backslashreplace").decode()


def _listing(values: Sequence[str]) -> str:
    shown = [_short(value) for value in values[:SHOWN_VALUES]] + ["..."] * (len(values) > SHOWN_VALUES)
    return ", ".join(shown) or "none"
