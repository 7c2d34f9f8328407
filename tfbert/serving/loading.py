"""Loading SavedModels, with errors that name the damaged file."""

import re
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

_ADVICE = "restore it from a copy, or export the run again"
_VARIABLES = Path("variables") / "variables"
# What TensorFlow raises for a damaged file: the checkpoint reader turns its statuses into Python's own exceptions.
_ERRORS = (tf.errors.OpError, OSError, RuntimeError, ValueError, KeyError, IndexError)


def load(version_dir: Path) -> Any:
    """Return a SavedModel as `tf.saved_model.load` does; TensorFlow verifies the checksum of each variable.

    Args:
        version_dir: the directory with `saved_model.pb`.

    Raises:
        ValueError: a file is missing, truncated or damaged; the message names it.
    """
    check_graph(version_dir)
    try:
        return tf.saved_model.load(str(version_dir))
    except _ERRORS as error:
        # Not all of TensorFlow's errors name the file.
        check_variables(version_dir)
        raise ValueError(f"{version_dir}: cannot be loaded ({_first_line(error)}); {_ADVICE}") from error


def check(version_dir: Path) -> None:
    """Read a SavedModel's graph and all its variables, without computing anything.

    Args:
        version_dir: the directory with `saved_model.pb`.

    Raises:
        ValueError: a file is missing, truncated or damaged; the message names it.
    """
    check_graph(version_dir)
    check_variables(version_dir)


def check_graph(version_dir: Path) -> None:
    """Read a SavedModel's graph.

    Raises:
        ValueError: `saved_model.pb` is missing, truncated or damaged.
    """
    path = version_dir / "saved_model.pb"
    try:
        content = path.read_bytes()
        saved = saved_model_pb2.SavedModel.FromString(content)
    except (OSError, DecodeError) as error:
        raise ValueError(f"{path}: damaged ({_first_line(error)}); {_ADVICE}") from error
    if not saved.meta_graphs:
        raise ValueError(f"{path}: damaged (it contains no graph); {_ADVICE}")


def check_variables(version_dir: Path) -> None:
    """Read all of a SavedModel's variables.

    Raises:
        ValueError: the index or a data file of the variables is missing, truncated or damaged.
    """
    prefix = version_dir / _VARIABLES
    index = prefix.with_name(f"{prefix.name}.index")
    if not index.exists() and not index.parent.exists():
        return  # a model without variables
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        names = sorted(reader.get_variable_to_shape_map())
    except _ERRORS as error:
        raise ValueError(f"{index}: damaged ({_first_line(error)}); {_ADVICE}") from error
    try:
        for name in names:
            reader.get_tensor(name)
    except _ERRORS as error:
        match = re.search(rf"{prefix.name}\.data-\d+-of-\d+", str(error))
        existing = sorted(path.name for path in index.parent.glob(f"{prefix.name}.data-*"))
        file_name = match[0] if match else next(iter(existing), f"{prefix.name}.data-00000-of-00001")
        raise ValueError(f"{index.with_name(file_name)}: damaged ({_first_line(error)}); {_ADVICE}") from error


def _first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
