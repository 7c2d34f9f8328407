"""Checksums of an encoder's files: compared once in a process, and recorded for downloads that come without any."""

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path

from tfbert.files import read_json, sha256_of, write_json

logger = logging.getLogger(__name__)

# Directory of the records in the cache.
CHECKSUMS = "checksums"
# By path, size and time of the last change, so that a file is read once in a process unless it changes.
_known: dict[tuple[str, int, int], str] = {}


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits, computed once in a process.

    Raises:
        OSError: the file cannot be read.
    """
    status = path.stat()
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
    if key not in _known:
        _known[key] = sha256_of(path)
    return _known[key]


def find_damaged(directory: Path, files: Mapping[str, str]) -> Path | None:
    """Return the first of some files that is not what it should be, or `None`.

    Args:
        directory: that has them.
        files: path in it to SHA-256.
    """
    for name, expected in files.items():
        try:
            if checksum(directory / name) != expected:
                return directory / name
        except OSError:
            return directory / name
    return None


def check_download(directory: Path, records_dir: Path) -> None:
    """Compare a directory that another library has downloaded with what it was when it was first seen.

    Files that have no record get one. Where Hugging Face's cache names a file by its SHA-256, that counts from the
    beginning.

    Args:
        directory: of one fixed version of an encoder.
        records_dir: where the records are; made if missing.

    Raises:
        ValueError: a file has changed since.
    """
    files = {str(path.relative_to(directory)): path for path in sorted(directory.rglob("*")) if path.is_file()}
    path = records_dir / f"{hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:32]}.json"
    recorded = read_json(path)["files"] if path.exists() else {}
    published = {name: file.resolve().name for name, file in files.items()}
    published = {name: blob for name, blob in published.items() if re.fullmatch("[0-9a-f]{64}", blob)}
    known = {name: sha256 for name, sha256 in (recorded | published).items() if name in files}
    damaged = find_damaged(directory, known)
    if damaged:
        raise ValueError(
            f"{damaged}: damaged: its SHA-256 is not that of the download; remove {damaged.resolve()} to have it "
            "downloaded again"
        )
    found = {name: checksum(file) for name, file in files.items()}
    if found.keys() <= recorded.keys():
        return
    try:
        records_dir.mkdir(parents=True, exist_ok=True)
        write_json(path, {"directory": str(directory), "files": recorded | found})
        logger.info("%s: recorded the SHA-256 of %d files, by which damage will be noticed", directory, len(found))
    except OSError as error:
        logger.warning("%s: cannot record checksums: %s", records_dir, error)


def parse(value: object, where: Path) -> dict[str, str]:
    """Return checksums by file name as JSON has them.

    Raises:
        ValueError: they are something else.
    """
    if not isinstance(value, dict) or not all(isinstance(sha256, str) for sha256 in value.values()):
        raise ValueError(f"{where}: sha256 is {json.dumps(value)[:80]}; expected an object of file names and checksums")
    return value
