"""JSON files in and out: read with errors that name the file, written so that they are whole or not there."""

import json
import os
from pathlib import Path
from typing import Any


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        ValueError: the file cannot be read, is not JSON, or holds something else than an object.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(said, dict):
        raise ValueError(f"{path}: is a {type(said).__name__}; wanted a JSON object")
    return said


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object aside and rename it to `path`."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    aside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(aside, path)
