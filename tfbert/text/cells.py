"""A cell of a table that holds a list, a set or an object as text in; the value out.

Tables written from JSON, Python, pandas and NumPy hold such cells: `["a", "b"]`, `['a', 'b']`, `{'a'}`, `['a' 'b']`.
"""

import ast
import json
import re
from typing import Any

_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_EMPTY = ("set()", "frozenset()")
_QUOTED = r"'(?:[^'\\]|\\.)*'" + "|" + r'"(?:[^"\\]|\\.)*"'
_NUMBER = r"[+-]?\d+(?:\.\d*)?"
# NumPy prints no commas between items, and breaks long lines.
_NUMPY_LIST = re.compile(rf"\[\s*(?:(?:{_QUOTED}|{_NUMBER})(?:\s+|(?=\s*\])))+\s*\]")
_NUMPY_ITEM = re.compile(f"{_QUOTED}|{_NUMBER}")
# Around lists in cells that pandas wrote from NumPy arrays.
_ARRAY = re.compile(rf"\barray\(\s*(\[(?:{_QUOTED}|[^\[\]'\"])*\])\s*(?:,\s*dtype=[\w<>'\"]+)?\s*\)")


def structured(cell: str) -> Any:
    """Return the list, dict, tuple or set that a cell holds, or `None` if it is plain text.

    Tuples and sets become lists, a set in sorted order. Only literals are read; nothing is evaluated.

    Args:
        cell: of a table.

    Raises:
        ValueError: the cell begins and ends with brackets around quoted items but cannot be read.
    """
    text = cell.strip()
    if text in _EMPTY:
        return []
    if not text or _BRACKETS.get(text[0]) != text[-1]:
        return None
    if text == "{}":
        return []
    value = _parsed(text)
    if isinstance(value, tuple):
        value = list(value)
    elif isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    elif not isinstance(value, list | dict):
        value = None  # brackets around one value are plain text: "(sic)"
    if value is None and re.match(rf"[\[({{]\s*(?:{_QUOTED})\s*[,:\])}}]", text):
        raise ValueError('brackets around quoted items that cannot be read as a list; use JSON such as ["a", "b"]')
    return value


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if _NUMPY_LIST.fullmatch(text):
        # Python would join strings that stand side by side.
        return [ast.literal_eval(item) for item in _NUMPY_ITEM.findall(text)]
    try:
        return ast.literal_eval(_ARRAY.sub(_with_commas, text))
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _with_commas(match: re.Match) -> str:
    items = match.group(1)
    return repr([ast.literal_eval(item) for item in _NUMPY_ITEM.findall(items)]) if "," not in items else items
