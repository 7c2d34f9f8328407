"""Prediction requests: reads the items to predict from files, standard input or arguments, without TensorFlow."""

import json
import logging
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tfbert.config import Config, DataConfig, override, parse_assignments
from tfbert.serving.input_spec import InputSpec
from tfbert.text.input_columns import input_columns
from tfbert.text.readers import lines as text_lines
from tfbert.text.readers.cells import parse_cell
from tfbert.text.readers.columns import Column, listing, named_columns, shown_json
from tfbert.text.readers.compression import DECOMPRESSION_ERRORS, decompressed
from tfbert.text.readers.formats import FORMATS, binary_format, format_of
from tfbert.text.readers.layout import Layout
from tfbert.text.readers.rows import Row, Source

logger = logging.getLogger(__name__)

STANDARD_INPUT = "-"
_TABLES = ("csv", "tsv", "xlsx", "parquet")
_FORMATS = (*_TABLES, "jsonl", "json", "label_studio", "doccano", "prodigy")

# The inputs of one item by name; a tuple for an input of several values.
Value = str | float
Item = dict[str, Value | tuple[Value, ...]]


@dataclass(frozen=True, slots=True)
class Request:
    """One item to predict, and the row that it was read from.

    Args:
        item: the inputs by name.
        cells: names and values of all columns or keys of the row; of the inputs if it has no others.
    """

    item: Item
    cells: tuple[tuple[str, Any], ...]


def data_config(columns: str | None, assignments: Iterable[str]) -> DataConfig:
    """Return how to read a file of items.

    Args:
        columns: the value of `data.columns`; `None` for the usual names.
        assignments: `data.FIELD=VALUE`, as given by `--set`.

    Raises:
        ValueError: a field does not exist or is not in `data`, or has an invalid value.
    """
    values = parse_assignments(assignments)
    for path in values:
        if not path.startswith("data."):
            raise ValueError(f"--set {path}: expected a field of data, such as data.encoding")
    data = override(Config(), values | ({} if columns is None else {"data.columns": columns})).data
    if data.bad_rows != "error":
        raise ValueError(f"data.bad_rows={data.bad_rows}: prediction cannot skip rows; expected error")
    if data.format not in ("auto", "text", *_FORMATS):
        raise ValueError(f"data.format={data.format}: expected auto, text, {', '.join(_FORMATS)}")
    text_lines.check_encoding(data.encoding, "data")
    return data


def read_requests(
    texts: Sequence[str], path: str | None, inputs: Mapping[str, InputSpec], data: DataConfig
) -> Iterator[Request]:
    """Yield the items to predict with their rows, in order. Unused columns and keys are logged once.

    Args:
        texts: command-line arguments; empty if there is a file.
        path: a file, possibly compressed, or `-` for standard input. `data.format` or the file decides whether it is a
            table, JSON, or lines that are each a text or a JSON object.
        inputs: the model's inputs by name.
        data: how to read the file, and which columns or keys are the inputs.

    Raises:
        ValueError: the file cannot be read or lacks an input; the message gives file and line.
    """
    if path is not None:
        columns = input_columns({name: spec.many for name, spec in inputs.items()})
        file = Source(path, path, data, columns, Layout(path), open_bytes=_open_binary)
        kind = _format(file)
        if kind in _FORMATS:
            yield from _requests_of_rows(file, kind, inputs)
            return
    source = "TEXT" if path is None else path
    unused = _UnusedNames(source, "key")
    for number, line in enumerate(texts if path is None else _text_lines(path, data), start=1):
        item = parse_item(line, f"{source}:{number}", inputs, data.columns, unused)
        yield Request(item, tuple(item.items()))


def _format(source: Source) -> str | None:
    """Return the format of a file, or `None` for lines of text or JSON, as of standard input and other files."""
    if source.data.format != "auto" or not Path(source.path).is_file():
        return None if source.data.format in ("auto", "text") else source.data.format
    return binary_format(source) or format_of(Path(source.path))


class _UnusedNames:
    """Logs each unused column or key once.

    Args:
        source: the file.
        noun: `column` or `key`.
    """

    def __init__(self, source: str, noun: str):
        self._source, self._noun = source, noun
        self._logged: set[str] = set()

    def log(self, names: Iterable[str]) -> None:
        """Log the names that have not been logged before."""
        new = [name for name in names if name not in self._logged]
        if new:
            self._logged.update(new)
            logger.info("%s: unused %s%s: %s", self._source, self._noun, "s" * (len(new) > 1), listing(new))


def _requests_of_rows(source: Source, kind: str, inputs: Mapping[str, InputSpec]) -> Iterator[Request]:
    unused = _UnusedNames(source.name, "column" if kind in _TABLES else "key")
    for row in FORMATS[kind].rows(source):
        if not isinstance(row, Row):
            raise ValueError(row)
        unused.log(source.layout.unused)
        item = {name: _input_value(row.values.get(name), name, spec, row.where) for name, spec in inputs.items()}
        yield Request(item, row.cells or tuple(item.items()))
    _log_replaced(source.name, source.tally)


def parse_item(
    line: str,
    where: str,
    inputs: Mapping[str, InputSpec],
    columns: str | None = None,
    unused: _UnusedNames | None = None,
) -> Item:
    """Return the item of a line: the line itself if the model has one text as input, otherwise a JSON object.

    If the model has one text as input, a line that is a JSON object is also read as that object.

    Args:
        line: without its line break.
        where: file and line number, for error messages.
        inputs: the model's inputs by name.
        columns: key names by input, in the syntax of `data.columns`; other inputs have their own name as key.
        unused: logs unused keys.

    Raises:
        ValueError: the line is not a JSON object, an input is missing, or its value has the wrong type.
    """
    only, *others = inputs
    is_one_text = not others and not inputs[only].many and not inputs[only].is_number
    if is_one_text and not line.lstrip().startswith("{"):
        return {only: line}
    given = named_columns([Column(name, name, several=spec.many) for name, spec in inputs.items()], columns)
    keys = {name: given.get(name, [name]) for name in inputs}
    used = {key: None for names in keys.values() for key in names}
    expected = f"expected a JSON object with the key{'s' * bool(others)} {', '.join(map(repr, used))}"
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError) as error:
        if is_one_text:
            return {only: line}
        raise ValueError(f"{where}: not JSON ({error}); {expected}") from None
    if not isinstance(parsed, dict):
        raise ValueError(f"{where}: {shown_json(parsed)}; {expected}")
    if not used.keys() <= parsed.keys():
        hint = ", or a text that is not a JSON object" if is_one_text else ""
        raise ValueError(f"{where}: a JSON object with the keys {listing(list(parsed))}; {expected}{hint}")
    if unused is not None:
        unused.log(key for key in parsed if key not in used)
    values = {n: parsed[k[0]] if len(k) == 1 else {key: parsed[key] for key in k} for n, k in keys.items()}
    return {name: _input_value(value, name, inputs[name], where) for name, value in values.items()}


def _input_value(value: Any, name: str, spec: InputSpec, where: str) -> Value | tuple[Value, ...]:
    """Return the value of an input.

    Args:
        value: a string or number; for an input of several values a list, a cell that holds a list, or cells by column.
        name: the input, for error messages.
        spec: the input's dtype and rank.
        where: file and line number, for error messages.

    Raises:
        ValueError: the value has the wrong type.
    """
    noun = "number" if spec.is_number else "string"
    if not spec.many:
        converted = _number(value) if spec.is_number else value
        if not isinstance(converted, str | float):
            raise ValueError(f"{where}: {name} is {shown_json(value)}; expected a {noun}")
        return converted
    values = value
    if isinstance(value, str):
        try:
            values = parse_cell(value)
        except ValueError as error:
            raise ValueError(f"{where}: {name}: {error}") from None
    elif isinstance(value, Mapping):
        values = [cell for cell in value.values() if cell is not None and str(cell).strip()]
    convert = _number if spec.is_number else _text
    converted = [convert(item) for item in values] if isinstance(values, list) else []
    if not converted or None in converted:
        raise ValueError(f"{where}: {name} is {shown_json(value)}; expected a list of {noun}s")
    return tuple(converted)


def _number(value: Any) -> float | None:
    """Return a JSON number or the number in a cell as a float; `None` if it is not a finite number."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text(value: Any) -> str | None:
    """Return a JSON string, or a JSON number as text; `None` for other values."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def read_lines(path: str) -> Iterator[str]:
    """Yield the lines of a UTF-8 file, compressed or not, or of standard input (`-`); only LF and CRLF end a line.

    Raises:
        ValueError: a line is not UTF-8, with file and line number, or a compressed file is damaged.
    """
    try:
        with _open_binary(path) as file, decompressed(file, path) as stream:
            for number, line in enumerate(stream, 1):
                yield _decode_utf8(line, number, path).removesuffix("\n").removesuffix("\r")
    except FileNotFoundError:
        raise
    except DECOMPRESSION_ERRORS as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None


def _decode_utf8(line: bytes, number: int, path: str) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]  # not of `line`, which may begin with a byte order mark
        raise ValueError(f"{path}:{number}: byte {byte:#04x} is not UTF-8; expected UTF-8") from None


def _text_lines(path: str, data: DataConfig) -> Iterator[str]:
    if (data.encoding, data.encoding_errors) == (DataConfig.encoding, DataConfig.encoding_errors):
        yield from read_lines(path)
        return
    tally = text_lines.Tally()
    for line in text_lines.read_lines(path, path, data, tally, open_bytes=_open_binary):
        yield line.removesuffix("\n").removesuffix("\r")
    _log_replaced(path, tally)


def _open_binary(path: str) -> BinaryIO:
    return open(sys.stdin.fileno() if path == STANDARD_INPUT else path, "rb")


def _log_replaced(path: str, tally: text_lines.Tally) -> None:
    if tally.num_replaced:
        logger.warning("%s: %d undecodable characters were replaced by U+FFFD", path, tally.num_replaced)
