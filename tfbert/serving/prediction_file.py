"""Prediction files: the columns of the input file, followed by the outputs of the model as columns."""

import contextlib
import csv
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from tfbert.files import writing
from tfbert.text.readers.columns import listing, shown

logger = logging.getLogger(__name__)

SUFFIXES = (".csv", ".tsv", ".jsonl")
_PREFIX = "predicted_"
# JSON escapes can produce lone surrogates, which cannot be written as UTF-8.
_SURROGATE = re.compile("[\ud800-\udfff]")


def encodable(text: str) -> str:
    """Return a text with U+FFFD in place of lone surrogates."""
    return _SURROGATE.sub("\ufffd", text)


class PredictionFile:
    """Writes rows with their predictions to a file, which appears under its name when it is complete.

    Until then the rows are in a temporary file next to it, so that a process that is killed leaves no incomplete file
    that looks complete. An output with the name of a column of the input is written as `predicted_NAME`.

    Args:
        path: a new file; its suffix, one of `SUFFIXES`, is the format. In tables, lists and objects are JSON.
        source: name of the input, for messages.

    Attributes:
        num_rows: number of rows written.

    Raises:
        ValueError: the suffix is unknown, the file exists, or its directory does not.
    """

    def __init__(self, path: Path, source: str):
        if path.suffix.lower() not in SUFFIXES:
            raise ValueError(f"--out {path}: expected a name that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
        if path.exists():
            raise ValueError(f"--out {path}: exists; expected a new file")
        if not path.parent.is_dir():
            raise ValueError(f"--out {path}: the directory {path.parent} does not exist")
        self.path, self._source, self._kind = path, source, path.suffix.lower()
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        self.num_rows = 0
        self._names: list[str] | None = None
        self._output_names: dict[str, str] = {}

    def __enter__(self) -> Self:
        with writing(self.path):
            self._stream: TextIO = open(self._temporary, "w", encoding="utf-8", newline="")
        quoting = {"quoting": csv.QUOTE_NONE, "quotechar": None} if self._kind == ".tsv" else {}
        delimiter = "\t" if self._kind == ".tsv" else ","
        self._table = csv.writer(self._stream, delimiter=delimiter, lineterminator="\n", **quoting)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with writing(self.path):
                self._stream.close()
                if error is None:
                    os.replace(self._temporary, self.path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                self._temporary.unlink()

    def write(self, cells: Sequence[tuple[str, Any]], outputs: Mapping[str, Any]) -> None:
        """Write one row.

        Args:
            cells: names and values of its columns; those of the first row are the columns of a table.
            outputs: the prediction, ready for JSON.

        Raises:
            ValueError: names repeat, or a table cannot hold the row.
        """
        if self._names is None:
            self._start(cells, outputs)
        self.num_rows += 1
        row = dict(cells)
        outputs = {self._output_names[name]: value for name, value in outputs.items()}
        clash = row.keys() & outputs.keys()
        if clash:
            name = shown(min(clash))
            raise ValueError(f"{self._source}: an input and an output are both named {name}; rename the input")
        with writing(self.path):
            if self._kind == ".jsonl":
                self._stream.write(encodable(json.dumps({**row, **outputs}, ensure_ascii=False)) + "\n")
                return
            if not row.keys() <= set(self._names):
                new = listing([name for name in row if name not in self._names])
                raise ValueError(f"{self._source}: {new} not in the first object; expected --out with a name in .jsonl")
            self._write_cells([*(row.get(name) for name in self._names), *outputs.values()])

    def _start(self, cells: Sequence[tuple[str, Any]], outputs: Mapping[str, Any]) -> None:
        """Determine the columns from the first row."""
        self._names = [name for name, _ in cells]
        repeated = [name for name in self._names if self._names.count(name) > 1]
        if repeated:
            raise ValueError(f"{self._source}: several columns are named {shown(repeated[0])}; rename them for --out")
        self._output_names = {name: f"{_PREFIX}{name}" if name in self._names else name for name in outputs}
        renamed = [name for name in outputs if name in self._names]
        if renamed:
            logger.info("%s: has %s; the outputs are written as %s", self._source, listing(renamed), f"{_PREFIX}NAME")
        if self._kind != ".jsonl":
            with writing(self.path):
                self._write_cells([*self._names, *self._output_names.values()])

    def _write_cells(self, values: Sequence[Any]) -> None:
        try:
            self._table.writerow([_cell(value) for value in values])
        except csv.Error as error:
            reason = "a value has a TAB or a line break, which .tsv cannot hold"
            raise ValueError(f"{self._source}: {reason}; expected --out with a name in .csv or .jsonl") from error


def _cell(value: Any) -> str:
    """Return a value for a table: a text as it is, nothing for `None`, anything else as JSON."""
    if value is None:
        return ""
    return encodable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
