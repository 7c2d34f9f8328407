"""Files -> rows: csv, tsv, jsonl, json, CoNLL columns, lines of `text<separator>label`, or a directory per class.

In: a path, a `DataConfig` and the columns that are wanted. Out: `Row` values and a message for every bad row.
"""

import codecs
import contextlib
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from tfbert.config import DataConfig
from tfbert.text.columns import Column, ColumnFinder, listing, shown, shown_json

FORMAT_OF_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".json": "json",
    ".txt": "text",
    ".conll": "conll",
}
# A quote that is never closed makes one field of the rest of the file; this bounds what it can take of memory.
LONGEST_FIELD = 2**24
MAX_SKIPPED_KEPT = 20


@dataclass(frozen=True, slots=True)
class Row:
    """What a file says of one record.

    Args:
        where: `train.csv:41`, the line on which it starts; in a folder `sports/199.txt`, its file.
        values: by role; text in tables, any JSON value in JSON.
    """

    where: str
    values: dict[str, Any]


class RowError(ValueError):
    """What is wrong with a row of several lines, and on which of them.

    Args:
        message: without the place.
        where: the place, instead of the row's own.
    """

    def __init__(self, message: str, where: str):
        super().__init__(message)
        self.where = where


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


def format_of(path: Path) -> str | None:
    """Return the format that a file's name tells, such as `csv` or `text`, or `None`."""
    return FORMAT_OF_SUFFIX.get(Path(path.name.lower().removesuffix(".gz")).suffix)


def table_rows(lines: Iterable[str], name: str, data: DataConfig, columns: Sequence[Column], kind: str) -> Iterator:
    """Yield the rows of a `csv` or `tsv` file, as `kind` says, below the line that names its columns.

    Raises:
        ValueError: the columns cannot be told, or quotes are unbalanced.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))  # of the whole process; it is never lowered
    quoted = data.quoting == "minimal" or (data.quoting == "auto" and kind == "csv")
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    rows = csv.reader(lines, delimiter="," if kind == "csv" else "\t", quoting=quoting, strict=True)
    finder = ColumnFinder(columns, data, "column")
    num_columns, found = 0, {}
    while True:
        where = f"{name}:{rows.line_num + 1}"
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise ValueError(_quote_message(where, error, quoted)) from None
        if row is None:
            break
        if row and not num_columns:
            num_columns, found = len(row), finder.find(row, where)
        elif row and len(row) != num_columns:
            plural = "s" * (len(row) > 1)
            yield f"{where}: {len(row)} column{plural} ({listing(row)}); wanted {num_columns}, as in the header"
        elif row:
            yield Row(where, _pick(row, found))


def text_rows(lines: Iterable[str], name: str, data: DataConfig, columns: Sequence[Column]) -> Iterator:
    """Yield the rows of lines of text, separator and label, which are split at the last separator.

    The text is the first of the columns, the label the last.
    """
    for number, ended in enumerate(lines, start=1):
        line = ended.rstrip("\r\n")
        text, separator, label = line.rpartition(data.separator)
        if separator:
            yield Row(f"{name}:{number}", {columns[0].role: text, columns[-1].role: label})
        elif line:
            wish = f"wanted the text, {data.separator!r} and the label"
            yield f"{name}:{number}: no separator {data.separator!r} in {shown(line)}; {wish}"


def jsonl_rows(lines: Iterable[str], name: str, data: DataConfig, columns: Sequence[Column]) -> Iterator:
    """Yield the rows of a file with a JSON object on each line.

    Raises:
        ValueError: the keys of the first object do not tell the columns.
    """

    def objects() -> Iterator[tuple[str, Any] | str]:
        for number, line in enumerate(lines, start=1):
            where = f"{name}:{number}"
            if not line.strip():
                continue
            try:
                yield where, json.loads(line.rstrip("\r\n"))
            except (ValueError, RecursionError) as error:
                place = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
                yield f"{where}: not JSON ({getattr(error, 'msg', error)}{place}); wanted one object on each line"

    return object_rows(objects(), data, columns, "wanted one object on each line")


def json_rows(lines: Iterable[str], name: str, data: DataConfig, columns: Sequence[Column]) -> Iterator:
    """Yield the rows of a JSON file: an array of objects, SQuAD's layout, or in truth an object on each line.

    An array and SQuAD's layout are read whole, into memory of some ten times the file.

    Raises:
        ValueError: not JSON, another layout, or keys that do not tell the columns.
    """
    stream = iter(lines)
    first = next((line for line in stream if line.strip()), "")
    try:
        is_jsonl = isinstance(json.loads(first), dict) and "data" not in json.loads(first)
    except (ValueError, RecursionError):
        is_jsonl = False
    if is_jsonl:
        yield from jsonl_rows(_chained(first, stream), name, data, columns)
        return
    try:
        document = json.loads(first + "".join(stream))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: not JSON ({error}); wanted an array of objects, or SQuAD's layout") from None
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        yield from squad_rows(document["data"], name)
        return
    if not isinstance(document, list):
        raise ValueError(f"{name}: {shown_json(document)}; wanted an array of objects, or SQuAD's layout with 'data'")
    objects = ((f"{name}[{index}]", item) for index, item in enumerate(document))
    yield from object_rows(objects, data, columns, "wanted an array of objects")


def object_rows(objects: Iterable, data: DataConfig, columns: Sequence[Column], wish: str) -> Iterator:
    """Yield a row for each pair of place and JSON object, and pass messages on.

    Raises:
        ValueError: the keys of the first object do not tell the columns.
    """
    finder = ColumnFinder(columns, data, "key")
    keys: dict[str, Any] | None = None
    for item in objects:
        if isinstance(item, str):
            yield item
            continue
        where, value = item
        if not isinstance(value, dict):
            yield f"{where}: {shown_json(value)} is not an object; {wish}"
            continue
        if keys is None:
            names = list(value)
            found = finder.find(names, where)
            keys = {r: list(at) if isinstance(at, dict) else names[at] for r, at in found.items()}
        absent = next(
            (c for c in columns if c.required and isinstance(keys[c.role], str) and keys[c.role] not in value), None
        )
        if absent:
            yield f"{where}: no key {shown(keys[absent.role])} among {listing(list(value))}; wanted it in every object"
            continue
        # What is not required may be in some objects only.
        keys |= {c.role: c.key_among(value) for c in columns if keys.get(c.role) is None}
        yield Row(where, {role: _value(value, key) for role, key in keys.items() if key is not None})


def squad_rows(articles: list, name: str) -> Iterator:
    """Yield a row for each question of SQuAD's layout, with `question`, `context`, `answers` and `id`.

    `where` names the question by its id, as the files are often one line.

    Source: Rajpurkar et al. 2016 and 2018, the JSON layout of SQuAD 1.1 and 2.0.
    """
    for a, article in enumerate(articles):
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        if not isinstance(paragraphs, list):
            yield f"{name}: data[{a}] has no list 'paragraphs'; wanted SQuAD's layout"
            continue
        for p, paragraph in enumerate(paragraphs):
            place = f"{name}: data[{a}].paragraphs[{p}]"
            if not isinstance(paragraph, dict) or not isinstance(paragraph.get("qas"), list):
                yield f"{place} has no list 'qas'; wanted SQuAD's layout"
                continue
            for q, item in enumerate(paragraph["qas"]):
                if not isinstance(item, dict):
                    yield f"{place}.qas[{q}] is {shown_json(item)}; wanted an object with a question"
                    continue
                values = {key: item.get(key) for key in ("question", "answers", "id")}
                values["answers"] = [] if item.get("is_impossible") else values["answers"]
                where = f"{name}:{item['id']}" if item.get("id") else f"{place}.qas[{q}]"
                yield Row(where, values | {"context": paragraph.get("context")})


def conll_rows(lines: Iterable[str], name: str, data: DataConfig, columns: Sequence[Column]) -> Iterator:
    """Yield a row for each sentence of CoNLL columns: `words` and `tags`, the first and last column of its lines.

    A line without words ends a sentence. `-DOCSTART-` lines are no sentence. `lines` holds the line numbers.

    Source: the layout of the CoNLL-2002 and 2003 shared tasks, Tjong Kim Sang and De Meulder 2003.
    """
    words, tags, numbers, bad = [], [], [], None
    for number, ended in enumerate(_chained_end(lines), start=1):
        # Only TAB and blank separate: a word may be a zero-width or other odd character.
        cells = [cell for cell in ended.rstrip("\r\n").replace("\t", " ").split(" ") if cell]
        if cells and cells[0] == "-DOCSTART-":
            continue
        if cells:
            bad = bad or (
                None if len(cells) > 1 else f"{name}:{number}: {shown(cells[0])} has no tag; wanted word, tag"
            )
            words.append(cells[0])
            tags.append(cells[-1])
            numbers.append(number)
        elif words:
            yield bad or Row(f"{name}:{numbers[0]}", {"words": words, "tags": tags, "lines": numbers})
            words, tags, numbers, bad = [], [], [], None


class Decoding(Protocol):
    """What a config says of a file's bytes: `encoding`, and `encoding_errors`, `strict` or `replace`."""

    encoding: str
    encoding_errors: str


def open_binary(path: Path | str) -> BinaryIO:
    """Open a file of this machine for reading."""
    return open(path, "rb")


def check_encoding(encoding: str, section: str) -> None:
    """Refuse what is no name of a text encoding.

    Raises:
        ValueError: it is none; `section` of the config is named.
    """
    try:
        " ".encode(encoding)
    except (LookupError, UnicodeError):
        wish = "wanted the name of a text encoding, such as utf-8, cp1252 or gb18030"
        raise ValueError(f"{section}.encoding={encoding}: {wish}") from None


def read_lines(
    path: Path | str,
    name: str,
    data: Decoding,
    tally: Tally,
    *,
    section: str = "data",
    open_bytes: Callable[[Any], BinaryIO] = open_binary,
) -> Iterator[str]:
    """Yield the lines of a file with their ends, without its byte order mark.

    Args:
        path: of the file; gzipped if its name ends in `.gz`.
        name: how messages call it.
        data: how bytes become text.
        tally: counts what was replaced.
        section: of the config that `data` is, for messages.
        open_bytes: opens `path`, wherever it is.

    Raises:
        ValueError: the file cannot be read, or bytes do not decode and `encoding_errors` is `strict`.
    """
    try:
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(open_bytes(path))
            if str(path).lower().endswith(".gz"):
                stream = stack.enter_context(gzip.GzipFile(fileobj=stream))
            file = io.TextIOWrapper(stream, encoding=data.encoding, errors="tfbert.mark", newline="")
            for number, line in enumerate(file, start=1):
                text = line.removeprefix("\ufeff") if number == 1 else line
                position = surrogate(text)
                yield text if position is None else _replaced(text, position, f"{name}:{number}", data, tally, section)
    except (OSError, EOFError, UnicodeError, zlib.error) as error:
        raise ValueError(f"{name}: cannot be read: {error}") from error


def surrogate(text: str) -> int | None:
    """Return the position of the first lone surrogate, or `None`."""
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def _pick(cells: Sequence, found: Mapping[str, int | dict[str, int]]) -> dict[str, Any]:
    return {
        role: {name: cells[i] for name, i in at.items()} if isinstance(at, dict) else cells[at]
        for role, at in found.items()
    }


def _value(item: Mapping, key: str | list[str]) -> Any:
    return {name: item.get(name) for name in key} if isinstance(key, list) else item.get(key)


def _chained(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


def _chained_end(lines: Iterable[str]) -> Iterator[str]:
    yield from lines
    yield ""


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Put a lone surrogate, which no decoder gives, for bytes that do not decode: so their line is found afterwards."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return chr(0xDC00 + error.object[error.start]), error.end


codecs.register_error("tfbert.mark", _mark)


def _replaced(line: str, position: int, where: str, data: Decoding, tally: Tally, section: str) -> str:
    if data.encoding_errors == "strict":
        setting = f"--set {section}.encoding"
        raise ValueError(
            f"{where}: byte 0x{ord(line[position]) - 0xDC00:02X} is not {data.encoding}; wanted the file's own "
            f"encoding (cp1252, mac_roman, ...) by {setting}=..., or {setting}_errors=replace"
        )
    line, num_replaced = re.subn("[\udc00-\udcff]", "\ufffd", line)
    tally.num_replaced += num_replaced
    return line


def _quote_message(where: str, error: csv.Error, quoted: bool) -> str:
    if not quoted:
        return f"{where}: {error}"
    return (
        f"{where}: unbalanced double quotes in the row that starts here ({error}); wanted quotes around whole fields "
        "and inner ones doubled, or --set data.quoting=none where quotes are plain text"
    )
