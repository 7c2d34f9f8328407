"""File formats: their suffixes and readers, and the detection of a file's format from its name and content."""

import functools
import itertools
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from tfbert.text.readers.brat import brat_files, brat_rows, is_brat
from tfbert.text.readers.compression import DECOMPRESSION_ERRORS, SUFFIXES, decompressed, uncompressed_name
from tfbert.text.readers.conll import conll_rows, looks_like_conll
from tfbert.text.readers.conllu import conllu_rows, looks_like_conllu
from tfbert.text.readers.excel import excel_rows
from tfbert.text.readers.folders import class_files, describe_folder, folder_rows
from tfbert.text.readers.json_files import json_rows, jsonl_rows
from tfbert.text.readers.parquet import parquet_rows
from tfbert.text.readers.plain_text import text_rows
from tfbert.text.readers.rows import Row, Source
from tfbert.text.readers.tables import has_columns, table_rows

_PARQUET, _ZIP, _OLD_EXCEL = b"PAR1", b"PK\x03\x04", bytes.fromhex("d0cf11e0a1b11ae1")  # first bytes
_SNIFFED_LINES = 200


@dataclass(frozen=True)
class Format:
    """A format of data files.

    Args:
        rows: function that yields the rows of a source, or a message for a bad row.
        record: what a record is, for the message about a file without records.
        suffixes: the suffixes of its files.
        is_binary: whether the files are not lines of text.
        roles: the roles of columns that a task must have to read the format; empty for any task.
        files: function that returns the files of a directory; `None` if the format is that of a file.
        describe: function that fills the layout of a source without reading it; `None` reads it.
    """

    rows: Callable[[Source], Iterator[Row | str]]
    record: str
    suffixes: tuple[str, ...] = ()
    is_binary: bool = False
    roles: tuple[str, ...] = ()
    files: Callable[[Path], tuple[Path, ...]] | None = None
    describe: Callable[[Source], None] | None = None


def _folder_files(path: Path) -> tuple[Path, ...]:
    return tuple(file for _, file in class_files(path))


_TABLE_RECORD, _OBJECT = "row below the line of column names", "object in the array"
_TAGS = ("tags",)
# The formats by the values of `data.format`.
FORMATS = {
    "csv": Format(functools.partial(table_rows, kind="csv"), _TABLE_RECORD, (".csv",)),
    "tsv": Format(functools.partial(table_rows, kind="tsv"), _TABLE_RECORD, (".tsv",)),
    "xlsx": Format(excel_rows, _TABLE_RECORD, (".xlsx", ".xlsm"), is_binary=True),
    "parquet": Format(parquet_rows, "row", (".parquet",), is_binary=True),
    "jsonl": Format(jsonl_rows, "line with a JSON object", (".jsonl", ".ndjson")),
    "json": Format(json_rows, _OBJECT, (".json",)),
    "label_studio": Format(json_rows, "task with an annotation"),
    "doccano": Format(json_rows, _OBJECT),
    "prodigy": Format(json_rows, "accepted example"),
    "text": Format(text_rows, "line of text, separator and label", (".txt",)),
    "conll": Format(conll_rows, "line of word and tag", (".conll",)),
    "conllu": Format(conllu_rows, "sentence", (".conllu",), roles=_TAGS),
    "folder": Format(
        folder_rows, "subdirectory per class with .txt files", files=_folder_files, describe=describe_folder
    ),
    "brat": Format(brat_rows, "pair of a .txt and an .ann file", roles=("entities",), files=brat_files),
}
_FORMAT_OF_SUFFIX = {suffix: name for name, kind in FORMATS.items() for suffix in kind.suffixes}
KNOWN_FILES = f"{', '.join(_FORMAT_OF_SUFFIX)}, also compressed ({', '.join(SUFFIXES)})"


def format_of(path: Path) -> str | None:
    """Return the format for a file's suffix, such as `csv` or `text`, or `None` if it is unknown."""
    return _FORMAT_OF_SUFFIX.get(PurePath(uncompressed_name(path.name)).suffix.lower())


def detect_format(source: Source) -> str:
    """Return the format of a file or directory: that of the config, or the one that its name and content suggest.

    The first bytes tell Parquet files and Excel workbooks, whatever their names. Text files are looked at more closely
    if a task learns from tags, or if their suffix is unknown.

    Raises:
        ValueError: the format is unknown, or does not suit the task or the config.
    """
    path, configured = Path(source.path), source.data.format
    if not path.exists():
        raise ValueError(f"{path}: no such file or directory")
    if path.is_dir():
        name = _detect_directory(path) if configured == "auto" else configured
        if FORMATS[name].files is None:
            raise ValueError(f"{path}: is a directory; expected a file because data.format={configured}")
    else:
        name = _detect_file(source) if configured == "auto" else configured
        if name is None:
            raise ValueError(f"{path}: unknown file format; expected {KNOWN_FILES}, or --set data.format=...")
        if FORMATS[name].files is not None:
            expected = "one subdirectory per class" if name == "folder" else ".txt and .ann files"
            raise ValueError(f"{path}: is a file; expected a directory with {expected} because data.format={name}")
    _check_roles(name, source)
    return name


def _check_roles(name: str, source: Source) -> None:
    roles = {column.role for column in source.columns}
    if name == "folder" and "tags" in roles:
        raise ValueError(
            f"{source.path}: a directory per class has only one label per text; for entities give a file with CoNLL "
            "columns or JSON lines, or a directory of .txt and .ann files"
        )
    if not roles.issuperset(FORMATS[name].roles):
        raise ValueError(f"{source.path}: the format {name} has labelled spans, which --task entities reads")


def _detect_directory(path: Path) -> str:
    return "brat" if is_brat(path) else "folder"


def _detect_file(source: Source) -> str | None:
    """Return the format of a file, or `None` if it is unknown."""
    path = Path(source.path)
    name = format_of(path)
    if binary := binary_format(source):
        return binary
    if name is not None and FORMATS[name].is_binary:
        return name  # its reader reports what is wrong
    has_tags = any(column.role == "tags" for column in source.columns)
    if has_tags and name in (None, "text", "tsv", "conll"):
        if looks_like_conllu(source.lines()):
            return "conllu"
        if looks_like_conll(source.lines()):
            return "conll"
    return name or _text_format(source)


def binary_format(source: Source) -> str | None:
    """Return the format of a Parquet file or an Excel workbook by its first bytes, or `None` for a file of text.

    Raises:
        ValueError: the file has the format of Excel before 2007, or cannot be read.
    """
    try:
        with source.open_bytes(source.path) as stream, decompressed(stream, str(source.path)) as content:
            start = content.read(len(_OLD_EXCEL))
            if start.startswith(_PARQUET):
                return "parquet"
            if start.startswith(_ZIP) and content.seekable() and zipfile.is_zipfile(content):
                return "xlsx" if "xl/workbook.xml" in zipfile.ZipFile(content).namelist() else None
    except DECOMPRESSION_ERRORS as error:
        raise ValueError(f"{source.name}: cannot be read: {error}") from error
    if start == _OLD_EXCEL:
        raise ValueError(f"{source.name}: is an old Excel file (.xls) or encrypted; save it as .xlsx or .csv")
    return None


def _text_format(source: Source) -> str | None:
    """Return the format of a file of text with an unknown suffix, or `None`."""
    head = list(itertools.islice(_without_errors(source.lines()), _SNIFFED_LINES))
    first = next((line.strip() for line in head if line.strip()), "")
    if first.startswith(("{", "[")):
        return "json"
    return next((kind for kind in ("tsv", "csv") if has_columns(iter(head), source, kind)), None)


def _without_errors(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines until one cannot be decoded, as in files that do not contain text."""
    try:
        yield from lines
    except ValueError:
        return
