"""Run directories: named after time and config so that an unfinished run is found again, and locked by one process."""

import importlib.metadata
import logging
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import tfbert
from tfbert.files import REPORT, STARTED, UNEXPORTED, locked, read_json, write_json
from tfbert.interrupts import Stopped
from tfbert.models.saved_run import mark_exported
from tfbert.text.splits import Split
from tfbert.training.checkpoint import CHECKPOINT

logger = logging.getLogger(__name__)

DATA = "data.json"
_PACKAGES = ("tensorflow", "tensorflow-text", "keras", "keras-hub", "numpy")


def find_unfinished(folder: Path, tag: str, fingerprint: str = "") -> Path:
    """Return the newest unfinished run in a folder that has this tag, or a new name.

    Args:
        folder: the directory that holds the runs.
        tag: short text that differs between different configs or data.
        fingerprint: as for `opened`; a finished run with this fingerprint counts as unfinished until it is exported.

    Returns:
        `folder/<time>-<tag>`; it exists only if it is an unfinished run to resume.
    """
    for candidate in sorted(folder.glob(f"*-{tag}"), reverse=True):
        if not (candidate / REPORT).exists() or _awaits_export(candidate, fingerprint):
            return candidate
    return folder / new_name(tag)


def new_name(tag: str) -> str:
    """Return the name of a new run directory."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{tag}"


@contextmanager
def opened(run_dir: Path, fingerprint: str = "", exports: bool = False, command: str = "") -> Iterator[None]:
    """Hold the lock of a run directory, which is created if missing.

    The directory of a finished run can be opened again only by the same run, and only if its export is still pending.

    Args:
        run_dir: must not be held by another process.
        fingerprint: text that differs between different runs.
        exports: whether the run will be exported once it is finished; `mark_exported` records that it was.
        command: the command that resumes the run, which the directory keeps until the run is finished; may be empty.

    Raises:
        ValueError: another process holds the directory, or it contains a finished run that is not to be exported.
        Stopped: a signal stopped the process; the message says what was saved.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with locked(run_dir, "training in it"):
        if (run_dir / REPORT).exists():
            if not _awaits_export(run_dir, fingerprint):
                raise ValueError(f"{run_dir}: holds a finished run; expected a new --out directory")
            logger.info("%s: training is finished; only the export is pending", run_dir)
        elif exports:
            write_json(run_dir / UNEXPORTED, {"fingerprint": fingerprint})
        else:
            mark_exported(run_dir)
        write_json(run_dir / STARTED, {"command": command})
        try:
            yield
            (run_dir / STARTED).unlink()
        except KeyboardInterrupt as error:
            if isinstance(error, Stopped) and error.message:
                raise
            raise Stopped.by(error, _saved_state(run_dir)) from error


def _awaits_export(run_dir: Path, fingerprint: str) -> bool:
    path = run_dir / UNEXPORTED
    return bool(fingerprint) and path.exists() and read_json(path).get("fingerprint") == fingerprint


def _saved_state(run_dir: Path) -> str:
    """Return the message for a user whose signal stopped the process."""
    if (run_dir / REPORT).exists():
        return f"stopped; {run_dir} holds the finished run"
    newest = max(run_dir.rglob(CHECKPOINT), key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        return f"stopped; {run_dir} holds no checkpoint"
    return f"stopped; the last checkpoint is {newest}, written {time.time() - newest.stat().st_mtime:.0f} seconds ago"


def check_data(run_dir: Path, splits: Mapping[str, Split]) -> None:
    """Refuse to resume on other data than before: results on different data cannot be compared.

    Args:
        run_dir: an existing directory; the first call stores the hashes of the data in it.
        splits: the present data by split name.

    Raises:
        ValueError: a file has changed, or a split has been added or is missing.
    """
    now = {name: {"path": str(split.path), "sha256": split.sha256} for name, split in splits.items()}
    path = run_dir / DATA
    if not path.exists():
        write_json(path, now)
        return
    before = read_json(path)
    for name in sorted(now.keys() | before.keys()):
        if name not in now or name not in before:
            change = f"was added, as the {name} split," if name in now else f"was the {name} split and is missing"
        elif now[name]["sha256"] != before[name]["sha256"]:
            change = "has changed"
        else:
            continue
        raise ValueError(
            f"{(now.get(name) or before[name])['path']}: {change} since {run_dir} was started, and results on "
            "different data cannot be compared; restore the data, or use another --out directory"
        )


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that determine the result of a training."""
    installed = {"python": platform.python_version(), "tfbert": tfbert.__version__}
    for package in _PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            installed[package] = "not installed"
    return installed
