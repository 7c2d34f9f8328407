"""Checkpoints and best weights of a training, each one file that is replaced at once and verified when it is read."""

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from tfbert.files import writing

CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"
_CHECKSUM = "sha256"
# Raised when what a checkpoint holds changes.
_VERSION = 2
_START_OVER = "remove it to start over"
TRAIN_AGAIN = "restore it from a copy, or train again with another --out directory"


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


def load_best(run_dir: Path) -> dict[str, np.ndarray]:
    """Return the best weights of a run.

    Raises:
        ValueError: there are none, or they are damaged.
    """
    return load(run_dir / BEST, TRAIN_AGAIN)[0]


def save(path: Path, arrays: dict[str, np.ndarray], state: dict) -> None:
    """Write arrays and a JSON-ready state to `path`, replacing what was there only when all is on disk.

    Args:
        path: of the file, in an existing directory.
        arrays: by name; dtypes of NumPy.
        state: what is not an array; the name `sha256` in it is taken by the checksum of all that is written.

    Raises:
        WriteError: the disk is full; what was at `path` is still there.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    contiguous = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in arrays.items()}
    # One entry of metadata: the order of several is not the same in every process, and equal runs write equal bytes.
    metadata = {"state": json.dumps(state | {_CHECKSUM: _checksum(contiguous, state)})}
    try:
        with writing(path):
            save_file(contiguous, aside, metadata=metadata)
            with open(aside, "rb") as stream:
                os.fsync(stream.fileno())
            os.replace(aside, path)
    except Exception:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def _checksum(arrays: dict[str, np.ndarray], state: dict) -> str:
    """Return the SHA-256 of names, dtypes, shapes and bytes of contiguous arrays and of a state, as hex digits."""
    digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def remove_parts(directory: Path) -> None:
    """Remove the half-written files that killed processes left; no other process may be saving there."""
    for part in directory.glob("*.part"):
        part.unlink()


def load(path: Path, advice: str = _START_OVER) -> tuple[dict[str, np.ndarray], dict]:
    """Return the arrays and the state that `save` wrote. Files of versions that wrote no checksum are not checked.

    Args:
        path: of the file.
        advice: what a user can do if it cannot be used.

    Raises:
        ValueError: the file is not a checkpoint, or is damaged.
    """
    try:
        with safe_open(path, framework="numpy") as stream:
            arrays = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (it is no dict)
            state = dict(json.loads(stream.metadata()["state"]))
    except Exception as error:
        # The library's own exception class for a broken header is not part of its public names.
        raise ValueError(f"{path}: not a tfbert checkpoint ({error}); {advice}") from error
    checksum = state.pop(_CHECKSUM, None)
    if checksum is not None and checksum != _checksum(arrays, state):
        raise ValueError(f"{path}: damaged: its content is not what was written (SHA-256 differs); {advice}")
    return arrays, state


def gather(prefix: str, variables: Sequence) -> dict[str, np.ndarray]:
    """Return the values of variables by position and path, such as `model/0003:.../kernel`."""
    return {name: np.asarray(v) for name, v in zip(_names(prefix, variables), variables, strict=True)}


def scatter(prefix: str, variables: Sequence, arrays: dict[str, np.ndarray]) -> None:
    """Assign what `gather` took.

    Raises:
        ValueError: the variables are not those that were saved.
    """
    wanted = _names(prefix, variables)
    present = [name for name in arrays if name.startswith(f"{prefix}/")]
    if sorted(present) != wanted:
        odd = sorted(set(wanted) ^ set(present))
        raise ValueError(f"checkpoint does not fit the model; first difference: '{odd[0] if odd else present}'")
    for name, variable in zip(wanted, variables, strict=True):
        variable.assign(arrays[name])


def _names(prefix: str, variables: Sequence) -> list[str]:
    # Keras numbers generators and optimizers through the life of a process; another process counts from another number.
    paths = [re.sub(r"(seed_generator|adam_w|lamb|adafactor|optimizer)_\d+/", r"\1/", v.path) for v in variables]
    return [f"{prefix}/{index:04d}:{path}" for index, path in enumerate(paths)]
