"""The state of a training in, one file out, and back: written aside and renamed, so that it is whole or not there."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file


def save(path: Path, arrays: dict[str, np.ndarray], state: dict) -> None:
    """Write arrays and a JSON-ready state to `path`, replacing what was there only when all is on disk.

    Args:
        path: of the file, in an existing directory.
        arrays: by name; dtypes of NumPy.
        state: what is not an array.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    contiguous = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in arrays.items()}
    save_file(contiguous, aside, metadata={"state": json.dumps(state)})
    with open(aside, "rb") as stream:
        os.fsync(stream.fileno())
    os.replace(aside, path)


def remove_parts(directory: Path) -> None:
    """Remove the half-written files that killed processes left; no other process may be saving there."""
    for part in directory.glob("*.part"):
        part.unlink()


def load(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Return the arrays and the state that `save` wrote.

    Raises:
        ValueError: the file is not a checkpoint.
    """
    try:
        with safe_open(path, framework="numpy") as stream:
            names = stream.keys()
            return {name: stream.get_tensor(name) for name in names}, json.loads(stream.metadata()["state"])
    except Exception as error:
        # The library's own exception class for a broken header is not part of its public names.
        raise ValueError(f"{path}: not a tfbert checkpoint ({error}); remove it to start over") from error


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
    paths = [re.sub(r"(seed_generator|adam_w|optimizer)_\d+/", r"\1/", v.path) for v in variables]
    return [f"{prefix}/{index:04d}:{path}" for index, path in enumerate(paths)]
