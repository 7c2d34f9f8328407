"""Bytes of a text file in, decoded lines out: encodings, byte order marks, gzip, and bytes that do not decode.

In: a path and how its bytes become text. Out: lines with their line ends, and a `Tally` of what was changed.
"""

import codecs
import contextlib
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

MAX_SKIPPED_KEPT = 20
_SAMPLE_BYTES = 4096  # of the beginning of a file, from which UTF-16 is told
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# NUL bytes of the sample at even or at odd positions, and how many times those on the other side they must be. Stray
# NUL characters in UTF-8 text make no UTF-16 of it.
_FEWEST_NULS, _NULS_RATIO = 4, 4


@dataclass(slots=True)
class Tally:
    """What one pass over a file left out or changed.

    Args:
        num_skipped: bad rows left out.
        skipped: the messages of the first 20 of them.
        num_replaced: characters put as U+FFFD for bytes that did not decode.
        encoding: with which the file was decoded; empty before its first line.
    """

    num_skipped: int = 0
    skipped: list[str] = field(default_factory=list)
    num_replaced: int = 0
    encoding: str = ""

    def skip(self, message: str) -> None:
        """Count a bad row, and keep its message if it is among the first."""
        self.num_skipped += 1
        if len(self.skipped) < MAX_SKIPPED_KEPT:
            self.skipped.append(message)


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


def detect_encoding(sample: bytes, encoding: str) -> str:
    """Return the encoding of a file that is UTF-16 or UTF-32 although UTF-8 was expected.

    Excel, Windows PowerShell and database tools write such files. They are told by their byte order mark, or without
    one by NUL bytes, which UTF-8 text does not have.

    Args:
        sample: beginning of the file.
        encoding: from the config; anything but UTF-8 is returned as it is.
    """
    if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig"):
        return encoding
    marked = next((name for mark, name in _MARKS.items() if sample.startswith(mark)), None)
    if marked or sample.startswith(codecs.BOM_UTF8):
        return marked or encoding
    # The upper byte of an ASCII character comes second in little-endian files. Even Chinese files have ASCII
    # characters, between columns and at the ends of lines, and few characters whose lower byte is 0.
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    fewer, more, found = (even, odd, "utf-16-le") if odd > even else (odd, even, "utf-16-be")
    is_utf16 = more >= _FEWEST_NULS and more >= _NULS_RATIO * fewer
    return found if is_utf16 and "\0" not in sample.decode(found, "replace") else encoding


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
        data: how bytes become text; UTF-16 and UTF-32 are recognized where UTF-8 is expected.
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
            if not hasattr(stream, "peek"):  # as from another file system's library
                stream = io.BufferedReader(stream)
            tally.encoding = detect_encoding(stream.peek(_SAMPLE_BYTES)[:_SAMPLE_BYTES], data.encoding)
            file = io.TextIOWrapper(stream, encoding=tally.encoding, errors="tfbert.mark", newline="")
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
            f"{where}: byte 0x{ord(line[position]) - 0xDC00:02X} is not valid {tally.encoding}; name the file's own "
            f"encoding, such as gb18030 (Chinese) or cp1252 (Western European), by {setting}=..., or use "
            f"{setting}_errors=replace"
        )
    line, num_replaced = re.subn("[\udc00-\udcff]", "\ufffd", line)
    tally.num_replaced += num_replaced
    return line
