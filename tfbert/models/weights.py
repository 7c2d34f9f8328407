"""Weight files: named arrays and a JSON state with a checksum, replaced atomically."""

import contextlib
import hashlib
import json
import os
import re
from collections import Counter
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
        ValueError: the file is missing or damaged.
    """
    return load(run_dir / BEST, TRAIN_AGAIN)[0]


def save(path: Path, arrays: dict[str, np.ndarray], state: dict) -> None:
    """Write arrays and a state to a file, which is replaced only when everything is on disk.

    Args:
        path: the file, in an existing directory.
        arrays: NumPy arrays by name.
        state: JSON-serializable values; the key `sha256` is reserved for the checksum.

    Raises:
        WriteError: the disk is full; an existing file is unchanged.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    contiguous = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in arrays.items()}
    # A single metadata entry, as the order of several differs between processes and equal runs must write equal bytes.
    metadata = {"state": json.dumps(state | {_CHECKSUM: _checksum(contiguous, state)})}
    try:
        with writing(path):
            save_file(contiguous, temporary, metadata=metadata)
            with open(temporary, "rb") as stream:
                os.fsync(stream.fileno())
            os.replace(temporary, path)
    except Exception:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _checksum(arrays: dict[str, np.ndarray], state: dict) -> str:
    """Return the SHA-256 of a state and of the names, dtypes, shapes and bytes of contiguous arrays, in hexadecimal."""
    digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def remove_temporary_files(directory: Path) -> None:
    """Remove incomplete files left by killed processes; no other process may be saving in the directory."""
    for path in directory.glob("*.part"):
        path.unlink()


def load(path: Path, advice: str = _START_OVER) -> tuple[dict[str, np.ndarray], dict]:
    """Return the arrays and the state that `save` wrote. Files of old versions have no checksum and are not verified.

    Args:
        path: the file.
        advice: ends the error message with what the user can do.

    Raises:
        ValueError: the file is not a checkpoint, or is damaged.
    """
    try:
        with safe_open(path, framework="numpy") as stream:
            arrays = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a dict)
            state = dict(json.loads(stream.metadata()["state"]))
    except Exception as error:
        # The library's exception class for a broken header is not public.
        raise ValueError(f"{path}: not a tfbert checkpoint ({error}); {advice}") from error
    checksum = state.pop(_CHECKSUM, None)
    if checksum is not None and checksum != _checksum(arrays, state):
        raise ValueError(f"{path}: damaged: the SHA-256 checksum of its content differs; {advice}")
    return arrays, state


def gather(prefix: str, variables: Sequence) -> dict[str, np.ndarray]:
    """Return the values of variables by names such as `model/dense/kernel`, made from prefix and path."""
    return {name: np.asarray(v) for name, v in zip(_names(prefix, variables), variables, strict=True)}


def scatter(prefix: str, variables: Sequence, arrays: dict[str, np.ndarray]) -> None:
    """Assign the values that `gather` returned to variables.

    Raises:
        ValueError: the arrays belong to other variables.
    """
    names = _names(prefix, variables)
    saved = [name for name in arrays if name.startswith(f"{prefix}/")]
    if set(saved) != set(names):
        different = sorted(set(names) ^ set(saved))
        name = different[0] if different else saved
        raise ValueError(f"checkpoint does not fit the model; first difference: '{name}'")
    for name, variable in zip(names, variables, strict=True):
        variable.assign(arrays[name])


def _names(prefix: str, variables: Sequence) -> list[str]:
    # Keras numbers generators and optimizers within a process, so the numbers differ between processes.
    paths = [re.sub(r"(seed_generator|adam_w|lamb|adafactor|optimizer)_\d+/", r"\1/", v.path) for v in variables]
    # The paths of variables that differ by the number only, such as those of generators, are numbered in their order.
    totals, counts, names = Counter(paths), Counter(), []
    for path in paths:
        names.append(f"{prefix}/{path}" + (f":{counts[path]}" if totals[path] > 1 else ""))
        counts[path] += 1
    return names
