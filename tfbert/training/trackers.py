"""Experiment trackers: send config, metrics and report of a run to Weights & Biases or MLflow.

A tracker only observes: its errors are logged once and never stop a training. By default it writes to the directory of
the run; the environment variables of its package, such as WANDB_MODE and MLFLOW_TRACKING_URI, choose a server.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tfbert.config import RootConfig
from tfbert.extras import require_library
from tfbert.fields import flatten
from tfbert.training.progress import Progress
from tfbert.training.tracker_backends import TRACKER, Backend, MlflowRun, WandbRun

logger = logging.getLogger(__name__)

_BACKENDS = {"wandb": WandbRun, "mlflow": MlflowRun}


class Tracker:
    """Sends the progress of a training to a tracker; as a context manager, it closes the run at the end.

    Args:
        connect: starts or continues the run; `None` tracks nothing.
        split: name of the split that is evaluated during training.
    """

    def __init__(self, connect: Callable[[], Backend] | None = None, split: str = "validation"):
        self._split, self._backend, self._next_step = split, None, 0
        if connect is not None:
            with self._harmless():
                self._backend = connect()
                self._next_step = self._backend.next_step

    def update(self, progress: Progress) -> None:
        """Send everything in the progress that was not sent before; to be called after an evaluation.

        A resumed training passes its whole history, so steps that were lost when a process was killed are sent again.
        """
        if self._backend is None:
            return
        steps = [(step, values) for step, values in _steps(progress, self._split) if step >= self._next_step]
        if steps:
            with self._harmless():
                self._backend.log(steps)
                self._next_step = steps[-1][0] + 1

    def finish(self, scores: Mapping[str, float], files: Sequence[Path], progress: Progress | None = None) -> None:
        """Send final scores and the files of the report, and end the run.

        Args:
            scores: by name.
            files: existing files.
            progress: the progress of the training; `None` for a run that consists of several trainings.
        """
        progress = progress or Progress()
        self.update(progress)
        average = progress.average.scores if progress.average else {}
        scores = _finite({**{f"average/{name}": value for name, value in average.items()}, **scores})
        if self._backend is not None:
            with self._harmless():
                self._backend.finish(scores, files, progress.update)
        self.close()

    def close(self, status: Literal["finished", "failed"] = "finished") -> None:
        """End the run unless it has ended."""
        backend, self._backend = self._backend, None
        if backend is not None:
            with self._harmless():
                backend.close(status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close("finished" if error is None else "failed")

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """Log an error in the `with` block, and track nothing from then on."""
        try:
            yield
        except Exception as error:
            self._backend = None
            logger.warning("train.track: not tracked any more: %s: %s", type(error).__name__, error)


# Tracks nothing.
UNTRACKED = Tracker()


def require_package(config: RootConfig) -> None:
    """Check that the package of the config's tracker is installed, without importing it.

    Raises:
        ValueError: it is not installed.
    """
    track = config.train.track
    if track != "none":
        require_library(track, f"train.track={track}", extra=track)


def open_tracker(config: RootConfig, run_dir: Path, split: str = "validation") -> Tracker:
    """Return the tracker of a run, which is continued if it was tracked before.

    A run inside the directory of another tracked run, such as a seed or a trial, becomes its child.

    Args:
        config: config of the run; `train.track` chooses the tracker.
        run_dir: an existing directory.
        split: as for `Tracker`.
    """
    track, run_dir = config.train.track, run_dir.absolute()
    if track == "none":
        return UNTRACKED
    groups = [parent for parent in run_dir.parents if (parent / TRACKER).exists()]

    def connect() -> Backend:
        return _BACKENDS[track](dict(flatten(config.to_dict())), run_dir, groups)

    return Tracker(connect, split)


def _steps(progress: Progress, split: str) -> list[tuple[int, dict[str, float]]]:
    """Return the metrics of each step in order; a step is the number of updates so far."""
    steps: dict[int, dict[str, Any]] = {}
    for point in progress.curve:
        values = {f"train/{name}": value for name, value in point.items() if name != "update"}
        steps.setdefault(point["update"], {}).update(values)
    for point in progress.history:
        scores = {f"{split}/{name}": value for name, value in (point.scores or {}).items()}
        steps.setdefault(point.update, {}).update({**scores, "epoch": point.epoch})
    return [(step, _finite(values)) for step, values in sorted(steps.items())]


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    """Return the values that are finite; trackers store no others."""
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}
