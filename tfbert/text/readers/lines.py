"""Line reader for text files: encoding detection, byte order marks, compression, and undecodable bytes."""

import codecs
import contextlib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from tfbert.text.readers.compression import DECOMPRESSION_ERRORS, decompressed

MAX_SKIPPED_KEPT = 20
_SAMPLE_BYTES = 4096  # from the beginning of a file, to detect UTF-16
# UTF-32 first, because its little-endian mark begins with that of UTF-16.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# UTF-16 has at least this many NUL bytes at even (or odd) positions of the sample, and this many times the number of
# those at the other positions. UTF-8 text with stray NUL characters has fewer.
_MIN_NULS, _MIN_NULS_RATIO = 4, 4


@dataclass(slots=True)
class Tally:
    """Counts of the rows skipped and characters replaced by one pass over a file.

    Args:
        num_skipped: the number of bad rows skipped.
        skipped: the messages of the first 20 bad rows.
        num_replaced: the number of U+FFFD characters that replace undecodable bytes.
        encoding: the encoding with which the file was decoded; empty before its first line.
    """

    num_skipped: int = 0
    skipped: list[str] = field(default_factory=list)
    num_replaced: int = 0
    encoding: str = ""

    def skip(self, message: str) -> None:
        """Count a bad row, and keep its message if it is one of the first 20."""
        self.num_skipped += 1
        if len(self.skipped) < MAX_SKIPPED_KEPT:
            self.skipped.append(message)


class Decoding(Protocol):
    """Config section with `encoding`, and `encoding_errors`: `strict` or `replace`."""

    encoding: str
    encoding_errors: str


def open_binary(path: Path | str) -> BinaryIO:
    """Open a local file for reading bytes."""
    return open(path, "rb")


def check_encoding(encoding: str, section: str) -> None:
    """Check that a text encoding exists.

    Args:
        encoding: the name of the encoding.
        section: the config section that has the field `encoding`, for the message.

    Raises:
        ValueError: Python has no text encoding with this name.
    """
    try:
        " ".encode(encoding)
    except (LookupError, UnicodeError):
        expected = "expected the name of a text encoding, such as utf-8, cp1252 or gb18030"
        raise ValueError(f"{section}.encoding={encoding}: {expected}") from None


def detect_encoding(sample: bytes, encoding: str) -> str:
    """Return the encoding of a file, detecting UTF-16 and UTF-32 if the config says UTF-8.

    Excel, Windows PowerShell and database tools write such files. They are recognized by their byte order mark, or by
    NUL bytes, which UTF-8 text hardly ever contains.

    Args:
        sample: the first bytes of the file.
        encoding: the encoding in the config; any other than UTF-8 is returned unchanged.
    """
    if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig"):
        return encoding
    marked = next((name for mark, name in _BYTE_ORDER_MARKS.items() if sample.startswith(mark)), None)
    if marked or sample.startswith(codecs.BOM_UTF8):
        return marked or encoding
    # The upper byte of an ASCII character is 0 and comes second in little-endian files. Even Chinese files have ASCII
    # characters, between columns and at the ends of lines, and few characters whose lower byte is 0.
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    fewer, more, utf16 = (even, odd, "utf-16-le") if odd > even else (odd, even, "utf-16-be")
    is_utf16 = more >= _MIN_NULS and more >= _MIN_NULS_RATIO * fewer
    return utf16 if is_utf16 and "\0" not in sample.decode(utf16, "replace") else encoding


def read_lines(
    path: Path | str,
    name: str,
    data: Decoding,
    tally: Tally,
    *,
    section: str = "data",
    open_bytes: Callable[[Any], BinaryIO] = open_binary,
) -> Iterator[str]:
    """Yield the lines of a file with their line ends, without a byte order mark.

    Args:
        path: the file to read, decompressed if its suffix is in `compression.SUFFIXES`.
        name: the name of the file in messages.
        data: the config section with the encoding; UTF-16 and UTF-32 are detected if it says UTF-8.
        tally: counts the replaced characters.
        section: the name of that config section, for messages.
        open_bytes: function that opens `path`, which need not be a local file.

    Raises:
        ValueError: the file cannot be read, or bytes cannot be decoded and `encoding_errors` is `strict`.
    """
    try:
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(decompressed(stack.enter_context(open_bytes(path)), str(path)))
            tally.encoding = detect_encoding(stream.peek(_SAMPLE_BYTES)[:_SAMPLE_BYTES], data.encoding)
            file = io.TextIOWrapper(stream, encoding=tally.encoding, errors="tfbert.surrogate", newline="")
            for number, line in enumerate(file, start=1):
                text = line.removeprefix("\ufeff") if number == 1 else line
                position = find_surrogate(text)
                yield text if position is None else _replaced(text, position, f"{name}:{number}", data, tally, section)
    except (*DECOMPRESSION_ERRORS, UnicodeError) as error:
        raise ValueError(f"{name}: cannot be read: {error}") from error


def find_surrogate(text: str) -> int | None:
    """Return the position of the first lone surrogate in a text, or `None`."""
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def _surrogate_for_byte(error: UnicodeError) -> tuple[str, int]:
    """Decode an invalid byte to a lone surrogate, which valid input never yields, so that its line can be found."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return chr(0xDC00 + error.object[error.start]), error.end


codecs.register_error("tfbert.surrogate", _surrogate_for_byte)


def _replaced(line: str, position: int, where: str, data: Decoding, tally: Tally, section: str) -> str:
    if data.encoding_errors == "strict":
        setting = f"--set {section}.encoding"
        raise ValueError(
            f"{where}: byte 0x{ord(line[position]) - 0xDC00:02X} is not valid {tally.encoding}; set the file's "
            f"encoding, such as gb18030 (Chinese) or cp1252 (Western European), with {setting}=..., or use "
            f"{setting}_errors=replace"
        )
    line, num_replaced = re.subn("[\udc00-\udcff]", "\ufffd", line)
    tally.num_replaced += num_replaced
    return line
