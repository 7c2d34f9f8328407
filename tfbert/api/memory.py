"""Data in memory: rows of a DataFrame, dicts or tuples, written as JSON files that are read like those of a user."""

import datetime
import hashlib
import json
import logging
import math
import os
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from tfbert.data_config import SPLITS
from tfbert.files import write_text
from tfbert.tasks.base import Task
from tfbert.text.readers.columns import named_columns
from tfbert.text.splits import SPLIT_OF_STEM

logger = logging.getLogger(__name__)

# A path, a pandas DataFrame, or an iterable of dicts or tuples.
Rows = Any
# The same, or a mapping from split names to it.
Data = Any
# Values of settings that fit the files to which data in memory is written. The files are ASCII, and so can be read with
# the encoding of files that are given together with data in memory.
_FORMATS, _ENCODINGS = ("auto", "json"), ("utf-8",)
_DATES = (datetime.date, datetime.time, np.datetime64)


def data_values(data: Data, task: Task, folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config values that name the data; data in memory is written first.

    Args:
        data: see `tfbert.fine_tune`; `None` for the samples of the task.
        task: its columns give the values of tuples their names.
        folder: parent of the directory that data in memory is written to; its name has a hash of the content, so that
            the same data has the same path.
        values: the config values that the user has set.

    Raises:
        ValueError: a split, a row or a value cannot be written, or the data cannot be read with the values.
    """
    if data is None:
        return {}
    if is_path(data):
        return {"data.path": os.fspath(data)}
    splits = _splits(data)
    if "train" not in splits:
        raise ValueError(f"data: has the splits {', '.join(map(repr, splits))}; expected 'train' among them")
    in_memory = {name: rows for name, rows in splits.items() if not is_path(rows)}
    if in_memory:
        _check_settings(values, has_files=len(in_memory) < len(splits))
    columns = values.get("data.columns")
    texts = {name: json_text(rows, name, task, columns) for name, rows in in_memory.items()}
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


def reading_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config values with which a single file of data in memory is read, whatever the config of a model says.

    Args:
        values: the config values that the user has set.

    Raises:
        ValueError: data in memory cannot be read with the values.
    """
    _check_settings(values, has_files=False)
    return {"data.format": "json", "data.encoding": "utf-8", "data.bad_rows": "error", **values}


def _check_settings(values: Mapping[str, Any], has_files: bool) -> None:
    allowed = {"data.format": _FORMATS} | ({} if has_files else {"data.encoding": _ENCODINGS})
    for path, expected in allowed.items():
        if values.get(path, expected[0]) not in expected:
            raise ValueError(f"{path}={values[path]}: expected {' or '.join(expected)} for data in memory")


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


def json_text(rows: Rows, name: str, task: Task, columns: str | None) -> str:
    """Return rows as a JSON array of objects, one per line, in ASCII.

    Values of other types than those of JSON are `null` in columns that the task does not read, and are logged.

    Args:
        rows: a DataFrame, or an iterable of dicts or tuples.
        name: the name of the split, for messages.
        task: its columns give the values of tuples their names.
        columns: the setting `data.columns` with which the rows are read.

    Raises:
        ValueError: there are no rows, or a row or a value that is read has the wrong type; the message names the row
            by its position, from 0, as errors of the reader do.
    """
    assigned = named_columns(task.columns, columns)
    lines: list[str] = []
    unwritten: dict[str, ValueError] = {}
    for index, row in enumerate(_iterate(rows, name)):
        where, values = f"{name}.json[{index}]", {}
        for key, value in _fields(row, where, task, assigned).items():
            key = str(key)
            try:
                if isinstance(value, _DATES) and value == value and _is_read(key, task, assigned):
                    raise ValueError(f"{where}: {key} is the date {value}; expected text: convert it with str()")
                values[key] = plain(value, f"{where}: {key}")
            except ValueError as error:
                if _is_read(key, task, assigned):
                    raise
                values[key] = None
                unwritten.setdefault(key, error)
        lines.append(json.dumps(values))
    if not lines:
        raise ValueError(f"{name}: has no rows; expected one or more")
    for key, error in unwritten.items():
        logger.warning("%s; such values of %r, which is not read, are left out", error, key)
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _is_read(key: str, task: Task, assigned: Mapping[str, list[str]]) -> bool:
    """Return whether the task reads a column of this name."""
    return any(
        key.strip() in assigned[column.role] if column.role in assigned else column.key_among([key]) is not None
        for column in task.columns
    )


def rows_of_frame(frame: Any) -> list[dict] | None:
    """Return the rows of a pandas DataFrame, with `None` for missing values; `None` for any other object.

    Raises:
        ValueError: two columns have the same name.
    """
    # A DataFrame exists only if the user has imported pandas.
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(frame, pandas.DataFrame):
        return None
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise ValueError(f"the DataFrame has several columns {str(repeated[0])!r}; expected different names")
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _iterate(rows: Rows, name: str) -> Iterable:
    frame = rows_of_frame(rows)
    if frame is not None:
        return frame
    if isinstance(rows, Mapping) or not isinstance(rows, Iterable):
        expected = "expected a path, a pandas DataFrame, or a list of dicts or tuples"
        raise ValueError(f"{name}: of type {type(rows).__name__}; {expected}")
    return rows


def _fields(row: Any, where: str, task: Task, assigned: Mapping[str, list[str]]) -> Mapping:
    if isinstance(row, Mapping):
        return row
    required = [column for column in task.columns if column.required]
    if isinstance(row, tuple | list) and len(row) == len(required):
        names = [assigned.get(column.role, column.usual_names.split(", ")[:1]) for column in required]
        if all(len(column_names) == 1 for column_names in names):
            return {name: value for (name,), value in zip(names, row, strict=True)}
        raise ValueError(f"{where}: is a tuple, but data.columns gives a role several columns; expected a dict")
    roles = ", ".join(column.role for column in required)
    actual = f"{len(row)} values" if isinstance(row, tuple | list) else f"of type {type(row).__name__}"
    raise ValueError(f"{where}: is {actual}; expected a dict, or a tuple ({roles})")


def plain(value: Any, where: str) -> Any:
    """Return a value of JSON, with `None` for NaN; dates become ISO text, and values of NumPy those of Python.

    Args:
        value: any value of a row.
        where: the row and the key, for messages.

    Raises:
        ValueError: JSON has no such value.
    """
    if isinstance(value, _DATES):
        text = str(value) if isinstance(value, np.datetime64) else value.isoformat()
        return text if value == value else None  # NaT, a missing date, is not equal to itself
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Decimal):
        value = float(value)
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
