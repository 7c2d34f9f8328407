"""Compressed files: gzip, bzip2, xz, Zstandard, and zip archives with one member, recognized by their suffix."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from pathlib import PurePath
from typing import BinaryIO

from tfbert.extras import import_library

# Raised while a damaged or encrypted file is read.
DECOMPRESSION_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)
_ZIP = ".zip"


def _only_member(stream: BinaryIO) -> BinaryIO:
    archive = zipfile.ZipFile(stream)
    # Programs add directories, and macOS a directory with metadata of the files.
    members = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if len(members) != 1:
        raise zipfile.BadZipFile(f"the archive contains {len(members)} files; expected one")
    return archive.open(members[0])


def _zstandard(stream: BinaryIO) -> BinaryIO:
    return import_library("pyarrow", "Zstandard files", "files").CompressedInputStream(stream, "zstd")


_DECOMPRESSORS = {
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _zstandard,
    _ZIP: _only_member,
}
SUFFIXES = tuple(_DECOMPRESSORS)


def uncompressed_name(name: str) -> str:
    """Return the name of a file without the suffix of its compression."""
    suffix = PurePath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in SUFFIXES else name


def decompressed(stream: BinaryIO, name: str) -> BinaryIO:
    """Return the uncompressed content of a file as a stream that can peek.

    Args:
        stream: the bytes of the file.
        name: the name of the file, whose suffix determines the compression; without one, `stream` is returned.

    Raises:
        ValueError: the file is compressed by Zstandard, and pyarrow is not installed.
    """
    decompress = _DECOMPRESSORS.get(PurePath(name.lower()).suffix)
    content = stream if decompress is None else decompress(stream)
    return content if hasattr(content, "peek") else io.BufferedReader(content)
