"""Values of config fields: text as typed, or JSON, in; a value of the field's type out."""

import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield dotted path and value of every leaf of nested dicts."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _alternatives(hint: Any) -> tuple:
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return typing.get_args(hint) if is_union else (hint,)


def parsed(path: str, text: str, hint: Any) -> Any:
    """Return the value that a text is for a field.

    Args:
        path: of the field, for messages.
        text: as typed by a user.
        hint: type annotation of the field.

    Raises:
        ValueError: the text is no value of this type.
    """
    choices = _alternatives(hint)
    if type(None) in choices and text in ("none", "None", "null", ""):
        return None
    for kind in choices:
        if kind == tuple[str, ...]:
            return tuple(part for part in text.split(",") if part)
        if typing.get_origin(kind) is Literal or kind is str:
            # A shell cannot easily pass a TAB, so the two-character escape is understood.
            return text.replace("\\t", "\t") if kind is str else text
        if kind is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                pass
    raise ValueError(f"{path}={text}: wanted {_describe(hint)}")


def checked(path: str, value: Any, hint: Any) -> Any:
    """Return a value from JSON in the type of its field.

    Args:
        path: of the field, for messages.
        value: of any type that JSON has.
        hint: type annotation of the field; an int is taken for a float.

    Raises:
        ValueError: the value has another type.
    """
    for kind in _alternatives(hint):
        if typing.get_origin(kind) is Literal:
            if value in typing.get_args(kind):
                return value
        elif kind == tuple[str, ...] and isinstance(value, (list, tuple)):
            if all(type(part) is str for part in value):
                return tuple(value)
        elif kind is float and type(value) in (int, float):
            # JSON has no infinity.
            if math.isfinite(value):
                return float(value)
        elif type(value) is kind:
            return value
    raise ValueError(f"{path}={value!r}: wanted {_describe(hint)}")


_IN_WORDS = {type(None): "none", str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_IN_WORDS[tuple[str, ...]] = "texts with commas between"


def _describe(hint: Any) -> str:
    names = []
    for kind in _alternatives(hint):
        if typing.get_origin(kind) is Literal:
            names += [repr(choice) for choice in typing.get_args(kind)]
        else:
            names.append(_IN_WORDS.get(kind, str(kind)))
    return " or ".join(names)
