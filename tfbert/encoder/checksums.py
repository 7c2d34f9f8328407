"""SHA-256 checksums of an encoder's files: verified once per process, and recorded for downloads that have none."""

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path

from tfbert.files import read_json, sha256_of, write_json

logger = logging.getLogger(__name__)

# Subdirectory of the cache for recorded checksums.
CHECKSUMS_DIR = "checksums"
# Checksums by path, size and modification time, so that a file is read only once per process unless it changes.
known_checksums: dict[tuple[str, int, int], str] = {}


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits, computed once per process.

    Raises:
        OSError: the file cannot be read.
    """
    status = path.stat()
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
    if key not in known_checksums:
        known_checksums[key] = sha256_of(path)
    return known_checksums[key]


def find_damaged(directory: Path, files: Mapping[str, str]) -> Path | None:
    """Return the first file that is missing or has another checksum, or `None` if there is none.

    Args:
        directory: the directory that contains the files.
        files: the expected SHA-256 of each file, by path in the directory.
    """
    for name, expected in files.items():
        try:
            if checksum(directory / name) != expected:
                return directory / name
        except OSError:
            return directory / name
    return None


def check_download(directory: Path, records_dir: Path) -> None:
    """Check that the files that another library downloaded have not changed since they were first seen.

    The checksums of new files are recorded. If Hugging Face's cache names a file by its SHA-256, even the first call
    verifies that file.

    Args:
        directory: the files of one fixed version of an encoder.
        records_dir: the directory of the recorded checksums; created if missing.

    Raises:
        ValueError: a file has changed.
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
            f"{damaged}: damaged: its SHA-256 differs from that of the download; remove {damaged.resolve()} to "
            "download it again"
        )
    current = {name: checksum(file) for name, file in files.items()}
    if current.keys() <= recorded.keys():
        return
    try:
        records_dir.mkdir(parents=True, exist_ok=True)
        write_json(path, {"directory": str(directory), "files": recorded | current})
        logger.info("%s: recorded the SHA-256 of %d files to detect damage later", directory, len(current))
    except OSError as error:
        logger.warning("%s: cannot record checksums: %s", records_dir, error)


def parse(value: object, where: Path) -> dict[str, str]:
    """Return a value read from JSON if it is a mapping of file names to checksums.

    Raises:
        ValueError: the value is something else.
    """
    if not isinstance(value, dict) or not all(isinstance(sha256, str) for sha256 in value.values()):
        raise ValueError(f"{where}: sha256 is {json.dumps(value)[:80]}; expected an object of file names and checksums")
    return value
