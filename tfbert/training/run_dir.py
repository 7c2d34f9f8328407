"""Run directories: one process in each, named after time and config, so that an unfinished one is found again."""

import importlib.metadata
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfbert.files import locked

# Written last: its presence means that nothing is left to do.
REPORT = "report.json"
_PACKAGES = ("tfbert", "tensorflow", "tensorflow-text", "keras", "keras-hub", "numpy")


def find_unfinished(folder: Path, mark: str) -> Path:
    """Return the newest run in a folder that has this mark and no report, or a new name.

    Args:
        folder: of runs.
        mark: short text that tells one config and data from others.

    Returns:
        `folder/<time>-<mark>`; it exists already if a killed run is to be continued.
    """
    for candidate in sorted(folder.glob(f"*-{mark}"), reverse=True):
        if not (candidate / REPORT).exists():
            return candidate
    return folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{mark}"


@contextmanager
def opened(run_dir: Path) -> Iterator[None]:
    """Hold a run directory, which is made if missing, against other processes.

    Raises:
        ValueError: another process holds it, or there is a finished run in it.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with locked(run_dir, "training in it"):
        if (run_dir / REPORT).exists():
            raise ValueError(f"{run_dir}: holds a finished run; wanted a new --out directory")
        yield


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a training."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
