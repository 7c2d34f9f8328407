"""Checkpoints and best weights of a training, each one file that is replaced at once and verified when it is read."""

import time
from pathlib import Path

import numpy as np

from tfbert.models.weights import BEST, load, remove_parts, save

CHECKPOINT = "checkpoint.safetensors"
# Raised when what a checkpoint holds changes.
_VERSION = 2
_START_OVER = "remove it to start over"


class Checkpoints:
    """Saves the state of one training, and its best weights, in a run directory.

    Args:
        run_dir: exists.
        fingerprint: text that differs between different data or configs; a checkpoint with another one is refused.
        seconds: shortest time between two checkpoints.
    """

    def __init__(self, run_dir: Path, fingerprint: str, seconds: float):
        self.run_dir, self.fingerprint, self.seconds = run_dir, fingerprint, seconds
        self._best: dict[str, np.ndarray] | None = None  # not yet on disk
        self._saved_at = time.monotonic()

    def is_due(self) -> bool:
        """Return whether the last checkpoint is old enough for another."""
        return time.monotonic() - self._saved_at >= self.seconds

    def keep_best(self, arrays: dict[str, np.ndarray]) -> None:
        """Keep weights as the best so far; they are written with the next checkpoint."""
        self._best = arrays

    def save(self, arrays: dict[str, np.ndarray], progress: dict) -> None:
        """Write a checkpoint of arrays and a JSON-ready progress."""
        if self._best is not None:
            # First, so that a checkpoint never refers to best weights that are not there.
            save(self.run_dir / BEST, self._best, {})
            self._best = None
        state = {"version": _VERSION, "identity": self.fingerprint, "progress": progress}
        save(self.run_dir / CHECKPOINT, arrays, state)
        self._saved_at = time.monotonic()

    def message(self, place: str) -> str:
        """Return the message for a user when a signal has stopped training.

        Args:
            place: where in training the last checkpoint was made, such as `update 2 of epoch 1`.
        """
        # Workers beyond the first have no directory.
        what = self.run_dir / CHECKPOINT if self.run_dir != Path() else "a checkpoint (by worker 0)"
        return f"stopped after {place}; saved {what}"

    def resume(self) -> tuple[dict[str, np.ndarray], dict] | None:
        """Return arrays and progress of the last checkpoint, or `None` if there is none.

        Raises:
            ValueError: the checkpoint belongs to another run or another version of tfbert, or is none; it or the best
                weights beside it are damaged.
        """
        path = self.run_dir / CHECKPOINT
        remove_parts(self.run_dir)
        if not path.exists():
            return None
        arrays, state = load(path)
        if state["identity"] != self.fingerprint:
            raise ValueError(f"{path}: is of another run (other data, config or seed); wanted an empty --out directory")
        if state.get("version") != _VERSION:
            raise ValueError(f"{path}: was written by another version of tfbert, which can resume it; {_START_OVER}")
        if (self.run_dir / BEST).exists():
            # They are needed at the end of training, which would be late to notice damage.
            load(self.run_dir / BEST, f"remove it and {path.name} to start over")
        return arrays, state["progress"]
