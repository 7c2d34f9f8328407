"""A cell of a table that holds a list, a set or an object as text in; the value out.

Tables written from JSON, Python, pandas and NumPy hold such cells: `["a", "b"]`, `['a', 'b']`, `{'a'}`, `['a' 'b']`.
"""

import ast
import json
import re
from typing import Any

from tfbert.text.columns import shown

_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_QUOTED = r"'(?:[^'\\]|\\.)*'" + "|" + r'"(?:[^"\\]|\\.)*"'
_NUMBER = r"[+-]?\d+(?:\.\d*)?"
# NumPy prints no commas between items, and breaks long lines.
_NUMPY_LIST = re.compile(rf"\[\s*+(?:(?:{_QUOTED}|{_NUMBER})(?:\s++|(?=\])))++\]")
_NUMPY_ITEM = re.compile(f"{_QUOTED}|{_NUMBER}")
# Around lists in cells that pandas wrote from NumPy arrays, and around a whole cell.
_ARRAY = re.compile(rf"\barray\(\s*(\[(?:{_QUOTED}|[^\[\]'\"])*\])\s*(?:,\s*dtype=[\w<>'\"]+)?\s*\)")
_WRAPPED = re.compile(r"(?:frozenset|set|tuple|list|array|Index)\((.*?)(?:,\s*dtype=[\w<>'\"]+)?\)", re.DOTALL)
_LIST_BEGINNING = re.compile(rf"[\[({{]\s*(?:{_QUOTED})\s*[,:]")


def structured(cell: str) -> Any:
    """Return the list, dict, tuple or set that a cell holds, or `None` if it is plain text.

    Tuples and sets become lists, a set in sorted order. Only literals are read; nothing is evaluated.

    Args:
        cell: of a table.

    Raises:
        ValueError: the cell begins with a bracket before a quoted item but cannot be read, as when it was cut.
    """
    text = cell.strip()
    if wrapped := _WRAPPED.fullmatch(text):
        text = wrapped[1].strip() or "[]"
    value = _parsed(text) if text and _BRACKETS.get(text[0]) == text[-1] else None
    if value == {}:
        return []  # how an empty set is often written
    if isinstance(value, list | tuple | set | frozenset | dict):
        try:
            return _as_json(value)
        except TypeError:
            raise ValueError(f"{shown(cell)} holds something else than texts, numbers, true and false") from None
    if _LIST_BEGINNING.match(text):
        raise ValueError(f'{shown(cell)} begins like a list but cannot be read as one; wanted JSON such as ["a", "b"]')
    return None  # plain text, maybe in brackets, such as "(sic)"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        if _NUMPY_LIST.fullmatch(text):
            # Python would join strings that stand side by side.
            return [_item(item) for item in _NUMPY_ITEM.findall(text)]
        return ast.literal_eval(_ARRAY.sub(_with_commas, text))
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _item(text: str) -> Any:
    # NumPy pads numbers with zeros, which Python does not read.
    return ast.literal_eval(text) if text[0] in "'\"" else float(text) if "." in text else int(text)


def _as_json(value: Any) -> Any:
    """Return a literal of Python as JSON has it: lists for tuples and sets, texts for bytes.

    Raises:
        TypeError: it holds what JSON does not have, such as `...` or a complex number.
    """
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if value is not None and not isinstance(value, str | int | float):
        raise TypeError
    return value


def _with_commas(match: re.Match) -> str:
    items = match.group(1)
    return repr([_item(item) for item in _NUMPY_ITEM.findall(items)]) if "," not in items else items
