"""Arrays in files: written aside and renamed, so that a file is complete or not there, with a checksum."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from tfbert.files import writing

BEST = "best.safetensors"
TRAIN_AGAIN = "restore it from a copy, or train again with another --out directory"
_CHECKSUM = "sha256"
_START_OVER = "remove it to start over"


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
