"""Checkpoints and best weights of a training: files that are replaced atomically and verified when read."""

import time
from collections.abc import Collection
from pathlib import Path

import numpy as np

from tfbert.models.weights import BEST, load, remove_temporary_files, save

CHECKPOINT = "checkpoint.safetensors"
# Incremented when the content of a checkpoint changes.
_VERSION = 3
# Weights of one of the best evaluations, by the number of updates before it.
_EVALUATED = "evaluated-{}.safetensors"
_START_OVER = "remove it to start over"


def remove_files(run_dir: Path) -> None:
    """Remove the checkpoint and all weights of a training."""
    for path in (run_dir / BEST, run_dir / CHECKPOINT, *run_dir.glob(_EVALUATED.format("*"))):
        path.unlink(missing_ok=True)


class Checkpoints:
    """Saves the state of one training, and its best weights, in a run directory.

    Args:
        run_dir: an existing directory.
        fingerprint: text that differs between different data or configs; a checkpoint with another one is refused.
        seconds: minimum time between two checkpoints.
    """

    def __init__(self, run_dir: Path, fingerprint: str, seconds: float):
        self.run_dir, self.fingerprint, self.seconds = run_dir, fingerprint, seconds
        self._best: dict[str, np.ndarray] | None = None  # not yet written
        self._evaluated: dict[int, dict[str, np.ndarray]] = {}  # not yet written
        self._saved_at = time.monotonic()

    def is_due(self) -> bool:
        """Return whether the last checkpoint is old enough for another."""
        return time.monotonic() - self._saved_at >= self.seconds

    def keep_best(self, arrays: dict[str, np.ndarray]) -> None:
        """Keep weights as the best so far; they are written with the next checkpoint."""
        self._best = arrays

    def keep_evaluated(self, update: int, arrays: dict[str, np.ndarray], needed: Collection[int]) -> None:
        """Keep the weights of an evaluation; they are written with the next checkpoint if that needs them.

        Args:
            update: number of updates before the evaluation.
            arrays: the weights.
            needed: the evaluations whose weights are still needed, among them this one.
        """
        self._evaluated = {kept: self._evaluated[kept] for kept in self._evaluated.keys() & set(needed)}
        self._evaluated[update] = arrays

    def evaluated(self, update: int) -> dict[str, np.ndarray]:
        """Return the weights of an evaluation that is still needed.

        Raises:
            ValueError: the file is missing or damaged.
        """
        if update in self._evaluated:
            return self._evaluated[update]
        return load(self._evaluated_path(update), f"remove it and {CHECKPOINT} to start over")[0]

    def _evaluated_path(self, update: int) -> Path:
        return self.run_dir / _EVALUATED.format(update)

    def save(self, arrays: dict[str, np.ndarray], progress: dict, needed: Collection[int] = ()) -> None:
        """Write a checkpoint.

        Args:
            arrays: weights and the states of the optimizer and of dropout.
            progress: everything else, ready for JSON.
            needed: the evaluations whose weights are still needed; the files of all others are removed.
        """
        if self._best is not None:
            # Before the checkpoint, which must not refer to best weights that do not exist.
            save(self.run_dir / BEST, self._best, {})
            self._best = None
        for update in self._evaluated.keys() & set(needed):
            save(self._evaluated_path(update), self._evaluated[update], {})
        self._evaluated = {}
        state = {"version": _VERSION, "fingerprint": self.fingerprint, "progress": progress}
        save(self.run_dir / CHECKPOINT, arrays, state)
        for path in self.run_dir.glob(_EVALUATED.format("*")):
            if path not in map(self._evaluated_path, needed):
                path.unlink()
        self._saved_at = time.monotonic()

    def message(self, place: str) -> str:
        """Return the message for a user whose signal stopped training.

        Args:
            place: point in training of the last checkpoint, such as `update 2 of epoch 1`.
        """
        # Only worker 0 has a directory.
        saved = self.run_dir / CHECKPOINT if self.run_dir != Path() else "a checkpoint (by worker 0)"
        return f"stopped after {place}; saved {saved}"

    def resume(self) -> tuple[dict[str, np.ndarray], dict] | None:
        """Return arrays and progress of the last checkpoint, or `None` if there is none.

        Raises:
            ValueError: the checkpoint belongs to another run or was written by another version of tfbert, or the
                checkpoint or the best weights are damaged.
        """
        path = self.run_dir / CHECKPOINT
        remove_temporary_files(self.run_dir)
        if not path.exists():
            return None
        arrays, state = load(path)
        if state.get("version") != _VERSION:
            raise ValueError(
                f"{path}: was written by another version of tfbert; resume with that version, or {_START_OVER}"
            )
        if state["fingerprint"] != self.fingerprint:
            raise ValueError(f"{path}: belongs to another run (other data, config or seed); expected an empty --out")
        if (self.run_dir / BEST).exists():
            # They are needed only at the end of training, which would be late to find damage.
            load(self.run_dir / BEST, f"remove it and {path.name} to start over")
        return arrays, state["progress"]
