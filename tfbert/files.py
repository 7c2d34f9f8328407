"""Atomic writes of files and directories, JSON files, locks, and I/O errors that name the file."""

import errno
import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Set
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None

logger = logging.getLogger(__name__)

# The config of a run, in its directory.
CONFIG = "config.json"
# The directory of the run with the best config, in that of a search.
BEST_RUN = "best"
# The encoder, in the directory of a pretraining.
ENCODER = "encoder"
# Written last in a run directory: its presence means that training and evaluation are done.
REPORT = "report.json"
# The directory of all runs, in the working directory.
RUNS_DIR = Path("runs")
# Holds the command that resumes a run, in its directory until the run is finished.
STARTED = "started.json"
# Marks a run that will be exported, in its directory from the start until the export.
UNEXPORTED = "unexported.json"

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LONGEST_NAME_BYTES = 255
# Interval between attempts to get a lock.
_POLL_SECONDS = 0.1
# How long a process that is not to wait for another one tries to get a lock. The list of runs holds each lock for an
# instant to see whether the run is active.
_ATTEMPT_SECONDS = 0.3


class WriteError(OSError):
    """A file or directory could not be written; the message names it."""


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error, or one of its causes, reports a full disk.

    TensorFlow, safetensors and HDF5 raise their own exceptions for a full disk; their text contains the system's.
    """
    while error is not None:
        if getattr(error, "errno", None) in _FULL or any(os.strerror(code) in str(error) for code in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise errors that name the file if a write inside the `with` block fails.

    Errors that already name a file, and errors unrelated to writing, pass unchanged.

    Args:
        path: the file or directory that is written.

    Raises:
        WriteError: the disk is full, or the system could not write for another reason.
    """
    try:
        yield
    except WriteError:
        raise
    except Exception as error:
        if is_disk_full(error):
            message = f"{path}: cannot be written: the disk is full; free some space and run the same command again"
            raise WriteError(message) from error
        if isinstance(error, OSError) and error.strerror and error.filename is None:
            raise WriteError(f"{path}: cannot be written: {error.strerror}") from error
        raise


def check_space(directory: Path, num_bytes: int, path: Path) -> None:
    """Check that a write will fit on the disk, for libraries that crash when a write fails.

    Args:
        directory: an existing directory on that disk.
        num_bytes: the number of bytes to be written.
        path: the file to be written, for the message.

    Raises:
        WriteError: the disk has less free space.
    """
    if not hasattr(os, "posix_fallocate"):  # missing on Windows and macOS
        return
    filler = directory / f".space-{uuid.uuid4().hex}"
    with writing(path):
        descriptor = os.open(filler, os.O_CREAT | os.O_WRONLY)
        try:
            os.posix_fallocate(descriptor, 0, num_bytes)
        finally:
            os.close(descriptor)
            filler.unlink()


def check_name(name: str, what: str) -> str:
    """Return a name after checking that it names a single directory, so that nothing is written anywhere else.

    Args:
        name: the name to check.
        what: the option that gives the name, for the message, such as `--name`.

    Raises:
        ValueError: the name is empty, `.` or `..`, longer than file systems allow, or holds a separator or a
            control character.
    """
    is_plain = name not in ("", ".", "..") and not any(character in "/\\" or character < " " for character in name)
    if not is_plain or len(os.fsencode(name)) > _LONGEST_NAME_BYTES:
        raise ValueError(
            f"{what} {name!r}: expected the name of one directory: no '/', '\\' or control characters, not empty, not "
            f"'.' or '..', at most {_LONGEST_NAME_BYTES} bytes"
        )
    return name


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as hex digits.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put a path before the message of an error in a `with` block.

    Raises:
        ValueError: as in the block, with the path.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        ValueError: the file cannot be read, or does not contain a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: is a {type(value).__name__}; expected a JSON object")
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object atomically: to a temporary file, which is then renamed."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text atomically: to a temporary file, which is then renamed.

    Raises:
        WriteError: the disk is full.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with writing(path):
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, path)
    except Exception:
        temporary.unlink(missing_ok=True)
        raise


class LocksUnsupported(OSError):
    """The platform or the file system has no locks."""


def acquire_lock(path: Path, wait_seconds: float = 0.0, waiting: str = "") -> ExitStack:
    """Lock a file or directory for this process; the system releases the lock when the process ends, even if killed.

    Args:
        path: an existing directory, or a file, which is created if missing.
        wait_seconds: how long to wait while another process holds the lock.
        waiting: message that is logged once if this process has to wait; empty logs nothing.

    Returns:
        A context that releases the lock at its end.

    Raises:
        BlockingIOError: another process still holds the lock after `wait_seconds`.
        LocksUnsupported: the platform or the file system has no locks.
        OSError: the path cannot be opened.
    """
    if fcntl is None:
        raise LocksUnsupported(errno.ENOLCK, os.strerror(errno.ENOLCK), str(path))
    end_seconds = time.monotonic() + wait_seconds
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
    with ExitStack() as stack:
        stack.callback(os.close, descriptor)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return stack.pop_all()
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise LocksUnsupported(error.errno, error.strerror, str(path)) from error
                if time.monotonic() >= end_seconds:
                    raise BlockingIOError(errno.EAGAIN, "another process holds the lock", str(path)) from error
            if waiting:
                logger.info("%s (%s)", waiting, path)
                waiting = ""
            time.sleep(_POLL_SECONDS)


@contextmanager
def locked(directory: Path, doing: str) -> Iterator[None]:
    """Lock a directory inside a `with` block, for a process that does not wait for another one.

    Args:
        directory: an existing directory, in which a file `.lock` is created.
        doing: the activity of a process that holds the lock, for the message, such as `training in it`.

    Raises:
        ValueError: another process holds the lock.
        LocksUnsupported: the platform or the file system has no locks.
    """
    try:
        lock = acquire_lock(directory / ".lock", _ATTEMPT_SECONDS)
    except BlockingIOError as error:
        raise ValueError(f"{directory}: another process is {doing}; expected another --out directory") from error
    with lock:
        yield


@contextmanager
def replace_directory(directory: str | os.PathLike, names: Set[str], what: str) -> Iterator[Path]:
    """Yield a temporary directory to write into, which replaces `directory` if nothing is raised.

    Args:
        directory: a new or empty directory, or one that this function wrote earlier.
        names: the names of the files that are written; a directory that contains other files is not replaced.
        what: a noun phrase for the files, for messages, such as `a saved encoder`.

    Raises:
        ValueError: `directory` is a file, or contains other files than `names`.
        WriteError: the disk is full; the previous content is kept.
    """
    directory = Path(directory).absolute()
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory}: is a file; expected a directory for {what}")
    others = {path.name for path in directory.iterdir()} - names if directory.is_dir() else ()
    if others:
        raise ValueError(f"{directory}: contains {min(others)!r}; expected a new or empty directory, or {what}")
    temporary = directory.parent / f".{directory.name}.part-{uuid.uuid4().hex}"
    temporary.mkdir(parents=True)
    try:
        with writing(directory):
            yield temporary
            move_into_place(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def move_into_place(temporary: Path, directory: Path) -> None:
    """Rename a finished temporary directory to its final name; an existing directory there is replaced."""
    try:
        os.rename(temporary, directory)  # replaces an empty directory
    except OSError:
        stale = directory.parent / f".{directory.name}.part-{uuid.uuid4().hex}"
        os.rename(directory, stale)
        os.rename(temporary, directory)
        shutil.rmtree(stale, ignore_errors=True)
