"""Files and directories in and out: read with errors that name them, written so that they are whole or not there."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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
    """Write a text aside and rename it to `path`."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)


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
