"""Cells of a table: placeholders for missing values, and lists, sets or objects as text.

Tables written by JSON, Python, pandas and NumPy contain lists such as `["a", "b"]`, `['a', 'b']`, `{'a'}`, `['a' 'b']`.
"""

import ast
import json
import re
from typing import Any

from tfbert.text.readers.columns import shown

_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_QUOTED = r"'(?:[^'\\]|\\.)*'" + "|" + r'"(?:[^"\\]|\\.)*"'
_NUMBER = r"[+-]?\d+(?:\.\d*)?"
# NumPy prints no commas between items and wraps long lines.
_NUMPY_LIST = re.compile(rf"\[\s*+(?:(?:{_QUOTED}|{_NUMBER})(?:\s++|(?=\])))++\]")
_NUMPY_ITEM = re.compile(f"{_QUOTED}|{_NUMBER}")
# `array(...)` around lists inside a cell, as pandas writes NumPy arrays, and a constructor around the whole cell.
_ARRAY = re.compile(rf"\barray\(\s*(\[(?:{_QUOTED}|[^\[\]'\"])*\])\s*(?:,\s*dtype=[\w<>'\"]+)?\s*\)")
_WRAPPED = re.compile(r"(?:frozenset|set|tuple|list|array|Index)\((.*?)(?:,\s*dtype=[\w<>'\"]+)?\)", re.DOTALL)
_LIST_BEGINNING = re.compile(rf"[\[({{]\s*(?:{_QUOTED})\s*[,:]")

# Written by pandas, R, databases and spreadsheets if a value is missing or could not be computed.
# Source: pandas 2.2, `STR_NA_VALUES`; Excel's error values.
_MISSING = frozenset(
    [
        *("nan", "NaN", "NAN", "-nan", "-NaN", "null", "Null", "NULL", "(null)", "nil", "None", "NONE", "NA", "N/A"),
        *("n/a", "N.A.", "<NA>", "<null>", "NaT", "\\N", "undefined", "#N/A", "#N/A N/A", "#NA", "#VALUE!"),
        *("#REF!", "#DIV/0!", "#ERROR!", "#NAME?", "#NUM!", "#NULL!"),
        *("1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    ]
)
# Placeholders compared case-insensitively, except words that may be the name of a label.
_MISSING_FOLDED = frozenset(map(str.casefold, _MISSING)) - {"none", "na", "undefined"}


def stands_for_missing(value: str) -> bool:
    """Return whether pandas, R, databases or spreadsheets write this value in place of a missing one."""
    return value in _MISSING or value.casefold() in _MISSING_FOLDED


def parse_cell(cell: str) -> Any:
    """Return the list or dict that a table cell contains as text, or `None` if the cell is plain text.

    Tuples and sets become lists, sets in sorted order. Only literals are parsed; nothing is evaluated.

    Raises:
        ValueError: the cell begins like a list of quoted items but cannot be parsed, for example if it was truncated.
    """
    text = cell.strip()
    if wrapped := _WRAPPED.fullmatch(text):
        text = wrapped[1].strip() or "[]"
    value = _parsed(text) if text and _BRACKETS.get(text[0]) == text[-1] else None
    if value == {}:
        return []  # many programs write an empty set as {}
    if isinstance(value, list | tuple | set | frozenset | dict):
        try:
            return _as_json(value)
        except TypeError:
            raise ValueError(f"{shown(cell)} contains values other than strings, numbers, true and false") from None
    if _LIST_BEGINNING.match(text):
        raise ValueError(f'{shown(cell)} begins like a list but cannot be parsed; expected JSON such as ["a", "b"]')
    return None  # plain text, possibly in brackets, such as "(sic)"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        if _NUMPY_LIST.fullmatch(text):
            # Python would concatenate adjacent strings.
            return [_item(item) for item in _NUMPY_ITEM.findall(text)]
        return ast.literal_eval(_ARRAY.sub(_with_commas, text))
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _item(text: str) -> Any:
    # NumPy pads numbers with zeros, which Python does not accept.
    return ast.literal_eval(text) if text[0] in "'\"" else float(text) if "." in text else int(text)


def _as_json(value: Any) -> Any:
    """Convert a Python literal to JSON types: tuples and sets to lists, bytes to strings.

    Raises:
        TypeError: the literal contains a value that JSON lacks, such as `...` or a complex number.
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
