"""Data in memory: rows of a DataFrame, dicts or tuples, written as JSON files that are read like those of a user."""

import hashlib
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tfbert.data_config import SPLITS
from tfbert.files import write_text
from tfbert.tasks.base import Task
from tfbert.text.splits import SPLIT_OF_STEM

# A path, a pandas DataFrame, or an iterable of dicts or tuples.
Rows = Any
# The same, or a mapping from split names to it.
Data = Any


def data_values(data: Data, task: Task, folder: Path) -> dict[str, Any]:
    """Return the config values that name the data; data in memory is written first.

    Args:
        data: see `tfbert.fine_tune`; `None` for the samples of the task.
        task: its columns give the values of tuples their names.
        folder: parent of the directory that data in memory is written to; its name has a hash of the content, so that
            the same data has the same path.

    Raises:
        ValueError: a split, a row or a value cannot be written.
    """
    if data is None:
        return {}
    if is_path(data):
        return {"data.path": os.fspath(data)}
    splits = _splits(data)
    if "train" not in splits:
        raise ValueError(f"data: has the splits {', '.join(map(repr, splits))}; expected 'train' among them")
    texts = {name: json_text(rows, name, task) for name, rows in splits.items() if not is_path(rows)}
    digest = hashlib.sha256()
    for name, text in texts.items():
        digest.update(f"{name} {len(text)} {text}".encode())
    # The last component is the name of an exported model.
    directory = folder / "data" / digest.hexdigest()[:16] / task.name
    for name, text in texts.items():
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / f"{name}.json").exists():
            write_text(directory / f"{name}.json", text)
    if len(texts) == len(splits):
        return {"data.path": str(directory)}
    return {
        f"data.{name}": os.fspath(rows) if is_path(rows) else str(directory / f"{name}.json")
        for name, rows in splits.items()
    }


def is_path(data: Data) -> bool:
    """Return whether data is the path of a file or directory."""
    return isinstance(data, str | os.PathLike)


def _splits(data: Data) -> dict[str, Rows]:
    if not isinstance(data, Mapping):
        return {"train": data}
    splits: dict[str, Rows] = {}
    for key, rows in data.items():
        name = SPLIT_OF_STEM.get(key)
        if name is None:
            raise ValueError(f"data: key {key!r} is not a split; expected some of {', '.join(SPLITS)}")
        if name in splits:
            raise ValueError(f"data: several keys are the {name} split; expected one")
        splits[name] = rows
    return {name: splits[name] for name in SPLITS if name in splits}


def json_text(rows: Rows, name: str, task: Task) -> str:
    """Return rows as a JSON array of objects, one per line.

    Args:
        rows: a DataFrame, or an iterable of dicts or tuples.
        name: the name of the split, for messages.
        task: its columns give the values of tuples their names.

    Raises:
        ValueError: there are no rows, or a row or a value has the wrong type; the message names the row by its
            position, from 0, as errors of the reader do.
    """
    lines = []
    for index, row in enumerate(_iterate(rows, name)):
        where = f"{name}.json[{index}]"
        fields = _fields(row, where, task)
        values = {str(key): plain(value, f"{where}: {key}") for key, value in fields.items()}
        lines.append(json.dumps(values, ensure_ascii=False))
    if not lines:
        raise ValueError(f"{name}: has no rows; expected one or more")
    # Lone surrogates, which cannot be encoded, are rejected by the reader if they are escaped.
    text = "[\n" + ",\n".join(lines) + "\n]\n"
    return text.encode("utf-8", "backslashreplace").decode()


def rows_of_frame(frame: Any) -> list[dict] | None:
    """Return the rows of a pandas DataFrame, with `None` for missing values; `None` for any other object."""
    # A DataFrame exists only if the user has imported pandas.
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(frame, pandas.DataFrame):
        return None
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _iterate(rows: Rows, name: str) -> Iterable:
    frame = rows_of_frame(rows)
    if frame is not None:
        return frame
    if isinstance(rows, Mapping) or not isinstance(rows, Iterable):
        expected = "expected a path, a pandas DataFrame, or a list of dicts or tuples"
        raise ValueError(f"{name}: of type {type(rows).__name__}; {expected}")
    return rows


def _fields(row: Any, where: str, task: Task) -> Mapping:
    if isinstance(row, Mapping):
        return row
    required = [column for column in task.columns if column.required]
    if isinstance(row, tuple | list) and len(row) == len(required):
        return {column.usual_names.split(", ")[0]: value for column, value in zip(required, row, strict=True)}
    roles = ", ".join(column.role for column in required)
    actual = f"{len(row)} values" if isinstance(row, tuple | list) else f"of type {type(row).__name__}"
    raise ValueError(f"{where}: is {actual}; expected a dict, or a tuple ({roles})")


def plain(value: Any, where: str) -> Any:
    """Return a value of JSON, with `None` for NaN; values of NumPy become those of Python.

    Args:
        value: any value of a row.
        where: the row and the key, for messages.

    Raises:
        ValueError: JSON has no such value.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isinf(value):
            raise ValueError(f"{where} is {value}; expected a finite number")
        return None if math.isnan(value) else value
    if isinstance(value, list | tuple):
        return [plain(item, where) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item, where) for key, item in value.items()}
    kind, expected = type(value).__name__, "expected a text, number or truth value, or a list or dict of these"
    raise ValueError(f"{where} is {str(value)[:40]!r}, of type {kind}; {expected}")
