"""Rows of data files, and the source from which a reader reads them.

The readers in `*_rows.py` yield a `Row`, or an error message for a bad row.
"""

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from tfbert.config import DataConfig
from tfbert.text.readers.columns import Column
from tfbert.text.readers.compression import decompressed
from tfbert.text.readers.layout import Layout
from tfbert.text.readers.lines import Tally, open_binary, read_lines


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


@dataclass(frozen=True)
class Source:
    """A file or directory to read, and what its reader fills in while it reads.

    Args:
        path: the file or directory.
        name: its name in messages.
        data: the data settings.
        columns: the columns of the task.
        layout: filled with the interpretation of the file.
        tally: counts the replaced characters.
        root: the directory to which the names of files in a directory are relative; `None` means the directory.
        open_bytes: function that opens a file.
    """

    path: Path | str
    name: str
    data: DataConfig
    columns: Sequence[Column]
    layout: Layout
    tally: Tally = field(default_factory=Tally)
    root: Path | None = None
    open_bytes: Callable[[Any], BinaryIO] = open_binary

    def lines(self) -> Iterator[str]:
        """Yield the lines of the file with their line ends.

        Raises:
            ValueError: the file cannot be read or decoded.
        """
        return read_lines(self.path, self.name, self.data, self.tally, open_bytes=self.open_bytes)

    @contextlib.contextmanager
    def binary(self) -> Iterator[BinaryIO]:
        """Open the uncompressed content of the file, which can seek; if it was compressed, it is held in memory.

        Raises:
            ValueError: the library for its compression is not installed.
        """
        with self.open_bytes(self.path) as stream, decompressed(stream, str(self.path)) as content:
            yield stream if content is stream else io.BytesIO(content.read())

    def lines_of(self, path: Path) -> Iterator[str]:
        """Yield the lines of a file in the directory.

        Raises:
            ValueError: the file cannot be read or decoded.
        """
        return read_lines(path, self.name_of(path), self.data, self.tally)

    def name_of(self, path: Path) -> str:
        """Return the name of a file in the directory, for messages."""
        return path.relative_to(self.root or self.path).as_posix()

    @property
    def has_target(self) -> bool:
        """Whether records are labelled: files of texts to predict have no column to learn."""
        return any(column.is_target for column in self.columns)
