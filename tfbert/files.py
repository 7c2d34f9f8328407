"""Files and directories in and out: read with errors that name them, written so that they are whole or not there."""

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LONGEST_NAME_BYTES = 255


class WriteError(OSError):
    """A file or directory could not be written; the message names it."""


def is_disk_full(error: BaseException | None) -> bool:
    """Say whether an error, or one that led to it, reports a full disk.

    TensorFlow, safetensors and HDF5 report a full disk as exceptions of their own, with the system's text in them.
    """
    while error is not None:
        if getattr(error, "errno", None) in _FULL or any(os.strerror(code) in str(error) for code in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let the error of a write that fails inside a `with` block name what was written.

    Errors that name a file themselves, and errors that have nothing to do with writing, pass unchanged.

    Args:
        path: of the file or directory.

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
    """Refuse to begin what would fill the disk, for libraries that do not survive a write that fails.

    Args:
        directory: existing.
        num_bytes: that will be written to it.
        path: what is written, for the message.

    Raises:
        WriteError: the disk has less space than that.
    """
    if not hasattr(os, "posix_fallocate"):  # not on every system
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
    """Refuse a name that is not the name of one directory, so that nothing is written anywhere else.

    Args:
        name: to check.
        what: has the name, for the message, such as `--name`.

    Returns:
        The name.

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


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        ValueError: the file cannot be read, is not JSON, or holds something else than an object.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(said, dict):
        raise ValueError(f"{path}: is a {type(said).__name__}; wanted a JSON object")
    return said


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object aside and rename it to `path`."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text aside and rename it to `path`.

    Raises:
        WriteError: the disk is full.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with writing(path):
            aside.write_text(text, encoding="utf-8")
            os.replace(aside, path)
    except Exception:
        aside.unlink(missing_ok=True)
        raise


@contextmanager
def locked(directory: Path, doing: str) -> Iterator[None]:
    """Hold a directory for this process; the system lets go of it when the process ends, however it ends.

    Args:
        directory: that is there; a file `.lock` is put into it.
        doing: what another process that has it would be doing, such as `training in it`.

    Raises:
        ValueError: another process has it.
    """
    import fcntl  # not on every system; what only reads JSON goes without

    with open(directory / ".lock", "w", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(f"{directory}: another process is {doing}; wanted another --out directory") from error
        yield


@contextmanager
def replaced(directory: str | os.PathLike, names: Set[str], what: str) -> Iterator[Path]:
    """Give a directory to write into, which takes the place of `directory` if nothing is raised.

    Args:
        directory: new, empty, or written so before.
        names: of the files that are written; one that holds others is not replaced.
        what: they are, for messages: such as `a saved encoder`.

    Raises:
        ValueError: there is a file, or a directory that holds others than `names`.
        WriteError: the disk is full; what was there before is still there.
    """
    directory = Path(directory).absolute()
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory}: is a file; wanted a directory for {what}")
    others = {path.name for path in directory.iterdir()} - names if directory.is_dir() else ()
    if others:
        raise ValueError(f"{directory}: holds {min(others)!r}; wanted a new or empty directory, or {what}")
    aside = directory.parent / f".{directory.name}.part-{uuid.uuid4().hex}"
    aside.mkdir(parents=True)
    try:
        with writing(directory):
            yield aside
            move_into_place(aside, directory)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def move_into_place(aside: Path, directory: Path) -> None:
    """Rename a finished directory to its name; one that is there already is put out of the way first, then removed."""
    try:
        os.rename(aside, directory)  # replaces an empty directory
    except OSError:
        stale = directory.parent / f".{directory.name}.part-{uuid.uuid4().hex}"
        os.rename(directory, stale)
        os.rename(aside, directory)
        shutil.rmtree(stale, ignore_errors=True)
