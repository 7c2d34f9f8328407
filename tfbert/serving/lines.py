"""Files, lines and arguments in, what is asked of a model out.

It needs no TensorFlow, as a client of a server has none.
"""

import gzip
import json
import logging
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tfbert.config import Config, DataConfig, override, parse_assignments
from tfbert.text import lines as decoded
from tfbert.text.cells import parse_cell
from tfbert.text.columns import Column, listing, named_columns, shown_json
from tfbert.text.input_columns import input_columns
from tfbert.text.json_rows import json_rows, jsonl_rows
from tfbert.text.layout import Layout
from tfbert.text.rows import Row, format_of, table_rows

logger = logging.getLogger(__name__)

STANDARD_INPUT = "-"
_FORMATS = ("csv", "tsv", "jsonl", "json")
_READ = {"jsonl": jsonl_rows, "json": json_rows}


def reading(columns: str | None, assignments: Iterable[str]) -> DataConfig:
    """Return how a file of what is asked is read.

    Args:
        columns: as `data.columns`.
        assignments: `data.FIELD=VALUE`, as `--set` gives them.

    Raises:
        ValueError: a field that is not of `data` or does not exist, or a value that it does not take.
    """
    values = parse_assignments(assignments)
    for path in values:
        if not path.startswith("data."):
            raise ValueError(f"--set {path}: expected a field of data, such as data.encoding")
    data = override(Config(), values | ({} if columns is None else {"data.columns": columns})).data
    if data.bad_rows != "error":
        raise ValueError(f"data.bad_rows={data.bad_rows}: every row is answered; expected error")
    if data.format not in ("auto", "text", *_FORMATS):
        raise ValueError(f"data.format={data.format}: expected auto, text, {', '.join(_FORMATS)}")
    decoded.check_encoding(data.encoding, "data")
    return data


def items_of(
    texts: Sequence[str], path: str | None, input_ranks: Mapping[str, int], data: DataConfig
) -> Iterator[dict[str, str | tuple[str, ...]]]:
    """Yield what is asked, in order; columns and keys that are not used are logged once.

    Args:
        texts: as arguments; empty if there is a file.
        path: of a file, gzipped if its name ends in `.gz`; `-` for standard input. Its name, or `data.format`, tells
            whether it is a table, JSON, or lines, each a text or a JSON object.
        input_ranks: of the model, by name: 1 for a text, 2 for several.
        data: how the file is read, and which columns or keys hold the inputs.

    Raises:
        ValueError: the file cannot be read, or does not have the inputs; the message has the place.
    """
    kind = data.format if data.format != "auto" or path is None else format_of(Path(path))
    if path is not None and kind in _FORMATS:
        yield from _from_rows(path, kind, input_ranks, data)
        return
    place = "TEXT" if path is None else path
    unused = _Unused(place, "key")
    for number, line in enumerate(texts if path is None else _text_lines(path, data), start=1):
        yield item_of(line, f"{place}:{number}", input_ranks, data.columns, unused)


class _Unused:
    """Names each column or key that is not used once.

    Args:
        place: the file.
        noun: `column` or `key`.
    """

    def __init__(self, place: str, noun: str):
        self._place, self._noun = place, noun
        self._named: set[str] = set()

    def name(self, names: Iterable[str]) -> None:
        """Log those of the names that are new."""
        new = [name for name in names if name not in self._named]
        if new:
            self._named.update(new)
            logger.info("%s: unused %s%s: %s", self._place, self._noun, "s" * (len(new) > 1), listing(new))


def _from_rows(path: str, kind: str, input_ranks: Mapping[str, int], data: DataConfig) -> Iterator[dict]:
    tally, layout, columns = decoded.Tally(), Layout(path), input_columns(input_ranks)
    unused = _Unused(path, "column" if kind in ("csv", "tsv") else "key")
    lines = decoded.read_lines(path, path, data, tally, open_bytes=_opened)
    if kind in _READ:
        rows = _READ[kind](lines, path, data, columns, layout)
    else:
        rows = table_rows(lines, path, data, columns, kind, layout)
    for row in rows:
        if not isinstance(row, Row):
            raise ValueError(row)
        unused.name(layout.unused)
        yield {name: _input(row.values.get(name), name, rank, row.where) for name, rank in input_ranks.items()}
    _log_replaced(path, tally)


def item_of(
    line: str, where: str, input_ranks: Mapping[str, int], columns: str | None = None, unused: _Unused | None = None
) -> dict[str, str | tuple[str, ...]]:
    """Return what a line asks about: the line itself where the model takes one text, or else a JSON object.

    For a model of one text, a line that is a JSON object is read as that object, too.

    Args:
        line: without its end.
        where: it stands, for messages.
        input_ranks: of the model, by name: 1 for a text, 2 for several.
        columns: names of the keys by input, as `data.columns`; the others have the names of the inputs.
        unused: takes the keys that are not used.

    Raises:
        ValueError: not an object, an input that is missing, or one that is not text.
    """
    (only, *others), ranks = input_ranks, list(input_ranks.values())
    is_one_text = not others and ranks == [1]
    if is_one_text and not line.lstrip().startswith("{"):
        return {only: line}
    given = named_columns([Column(name, name, several=rank > 1) for name, rank in input_ranks.items()], columns)
    keys = {name: given.get(name, [name]) for name in input_ranks}
    wanted = ", ".join(repr(key) for of_input in keys.values() for key in of_input)
    wish = f"expected a JSON object with the key{'s' * bool(others)} {wanted}"
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        if is_one_text:
            return {only: line}
        raise ValueError(f"{where}: not JSON ({error}); {wish}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{where}: {shown_json(found)}; {wish}")
    if not all(key in found for of_input in keys.values() for key in of_input):
        hint = ", or a text that is not a JSON object" if is_one_text else ""
        raise ValueError(f"{where}: a JSON object with the keys {listing(list(found))}; {wish}{hint}")
    used = {key for of_input in keys.values() for key in of_input}
    if unused is not None:
        unused.name(key for key in found if key not in used)
    values = {n: found[of[0]] if len(of) == 1 else {key: found[key] for key in of} for n, of in keys.items()}
    return {name: _input(value, name, input_ranks[name], where) for name, value in values.items()}


def _input(value: Any, name: str, rank: int, where: str) -> str | tuple[str, ...]:
    """Return an input of a row or an object: a text, or several from a list, a cell that holds one, or several cells.

    Raises:
        ValueError: it is neither.
    """
    if rank == 1:
        if isinstance(value, str):
            return value
        raise ValueError(f"{where}: {name} is {shown_json(value)}; expected a string")
    items = value
    if isinstance(value, str):
        try:
            items = parse_cell(value)
        except ValueError as error:
            raise ValueError(f"{where}: {name}: {error}") from None
    elif isinstance(value, Mapping):
        items = [cell for cell in value.values() if cell is not None and str(cell).strip()]
    if not isinstance(items, list) or not items or not all(_is_text_or_number(item) for item in items):
        raise ValueError(f"{where}: {name} is {shown_json(value)}; expected a list of strings")
    return tuple(item if isinstance(item, str) else json.dumps(item) for item in items)


def _is_text_or_number(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def read_lines(path: str) -> Iterator[str]:
    """Yield the lines of a UTF-8 file, gzipped or not, `-` for standard input; only LF and CRLF end a line.

    Raises:
        ValueError: a line is not UTF-8; file and line are named. Or the file is not the gzip file its name says.
    """
    with _opened(path) as file, gzip.GzipFile(fileobj=file) if path.endswith(".gz") else file as stream:
        try:
            for number, line in enumerate(stream, 1):
                yield _from_utf8(line, number, path).removesuffix("\n").removesuffix("\r")
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: cannot be read: {error}") from None


def _from_utf8(line: bytes, number: int, path: str) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]  # not `line`, of which the decoder has dropped the byte order mark
        raise ValueError(f"{path}:{number}: byte {byte:#04x} is not UTF-8; wanted UTF-8") from None


def _text_lines(path: str, data: DataConfig) -> Iterator[str]:
    if (data.encoding, data.encoding_errors) == (DataConfig.encoding, DataConfig.encoding_errors):
        yield from read_lines(path)
        return
    tally = decoded.Tally()
    for line in decoded.read_lines(path, path, data, tally, open_bytes=_opened):
        yield line.removesuffix("\n").removesuffix("\r")
    _log_replaced(path, tally)


def _opened(path: str) -> BinaryIO:
    return open(sys.stdin.fileno() if path == STANDARD_INPUT else path, "rb")


def _log_replaced(path: str, tally: decoded.Tally) -> None:
    if tally.num_replaced:
        logger.warning("%s: %d characters did not decode and were replaced by U+FFFD", path, tally.num_replaced)
