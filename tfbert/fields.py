"""Config fields: declarations with description and bounds, and parsing and type checks of their values."""

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Bounds:
    """The range of numbers that a field accepts.

    Args:
        description: the bounds in words, for messages and `--list`.
        low: the smallest number.
        high: the largest number.
        low_excluded: whether `low` itself is not allowed.
        high_excluded: whether `high` itself is not allowed.
    """

    description: str
    low: float = -math.inf
    high: float = math.inf
    low_excluded: bool = False
    high_excluded: bool = False

    def allow(self, value: float) -> bool:
        """Return whether a number lies within the bounds."""
        is_above = value > self.low if self.low_excluded else value >= self.low
        return is_above and (value < self.high if self.high_excluded else value <= self.high)


def at_least(low: float) -> Bounds:
    """Return the bounds of numbers that are `low` or more."""
    return Bounds(f"{low} or more", low)


POSITIVE = Bounds("more than 0", 0, low_excluded=True)
# A fraction that is never the whole.
FRACTION = Bounds("0 or more, below 1", 0, 1, high_excluded=True)
SEED = Bounds("0 to 2147483647", 0, 2**31 - 1)


def setting(default: Any, description: str, bounds: Bounds | None = None, *, affects_data: bool = True) -> Any:
    """Return a field of a config dataclass.

    Args:
        default: the default value.
        description: what the field means to a user; `--list` prints it.
        bounds: the range of a numeric field; `None` for no limits. A value of `None` is never out of range.
        affects_data: whether the records or their tokens may depend on the field, so that a new value makes cached
            tokens invalid.
    """
    metadata = {"description": description, "bounds": bounds, "affects_data": affects_data}
    return dataclasses.field(default=default, metadata=metadata)


# A field that only changes how a model is trained.
training_setting = functools.partial(setting, affects_data=False)


def metadata_at(root: type, path: str) -> Mapping[str, Any]:
    """Return what `setting` stores about the field at a path, such as `train.epochs`, of a config dataclass."""
    section, _, name = path.rpartition(".")
    node = typing.get_type_hints(root)[section] if section else root
    return next(field.metadata for field in dataclasses.fields(node) if field.name == name)


def check_bounds(config: Any, section: str) -> None:
    """Reject numbers outside the bounds of their fields.

    Args:
        config: a dataclass whose fields were made by `setting`.
        section: the name of the section, for messages.

    Raises:
        ValueError: a number is out of bounds; the message names its field, its value and the bounds.
    """
    for field in dataclasses.fields(config):
        bounds, value = field.metadata.get("bounds"), getattr(config, field.name)
        if bounds is not None and value is not None and not bounds.allow(value):
            raise ValueError(f"{section}.{field.name}={value}: expected {bounds.description}")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the dotted path and the value of every leaf of nested dicts."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _alternatives(hint: Any) -> tuple:
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return typing.get_args(hint) if is_union else (hint,)


def parse_value(path: str, text: str, hint: Any) -> Any:
    """Return the value of a field from the text of a command-line option.

    Args:
        path: the path of the field, for messages.
        text: the text that the user typed.
        hint: the type annotation of the field.

    Raises:
        ValueError: the text is not a value of this type.
    """
    alternatives = _alternatives(hint)
    if type(None) in alternatives and text in ("none", "None", "null", ""):
        return None
    for kind in alternatives:
        if kind == tuple[str, ...]:
            return tuple(item for item in text.split(",") if item)
        if typing.get_origin(kind) is Literal or kind is str:
            # Typing a TAB in a shell is difficult, so the escape sequence is accepted.
            return text.replace("\\t", "\t") if kind is str else text
        if kind is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                pass
    raise ValueError(f"{path}={text}: expected {type_in_words(hint)}")


def as_typed(value: Any) -> str:
    """Return a value of a field as it is typed after `--set`; text that a shell would change or hide is quoted."""
    if isinstance(value, tuple | list) and all(isinstance(part, str) for part in value):
        value = ",".join(value)
    if isinstance(value, str):
        return value if value.isprintable() and value.strip() == value != "" else repr(value)
    return "none" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def differing_values(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return the paths at which configs differ, each with the value in every config as it is typed; `–` for none.

    Args:
        configs: nested dicts, as in `config.json`.
    """
    flat = [dict(flatten(config)) for config in configs]
    paths = dict.fromkeys(path for config in flat for path in config)
    rows = [(path, [as_typed(config[path]) if path in config else "–" for config in flat]) for path in paths]
    return [(path, values) for path, values in rows if len(set(values)) > 1]


def check_value(path: str, value: Any, hint: Any) -> Any:
    """Check a JSON value against the type of its field, and return it in this type; an int is accepted for a float.

    Args:
        path: the path of the field, for messages.
        value: a value of any JSON type.
        hint: the type annotation of the field.

    Raises:
        ValueError: the value has another type.
    """
    for kind in _alternatives(hint):
        if typing.get_origin(kind) is Literal:
            if value in typing.get_args(kind):
                return value
        elif kind == tuple[str, ...] and isinstance(value, (list, tuple)):
            if all(type(item) is str for item in value):
                return tuple(value)
        elif kind is float and type(value) in (int, float):
            # JSON has no infinity.
            if math.isfinite(value):
                return float(value)
        elif type(value) is kind:
            return value
    raise ValueError(f"{path}={value!r}: expected {type_in_words(hint)}")


_IN_WORDS = {type(None): "none", str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_IN_WORDS |= {dict: "an object", list: "a list"}
_IN_WORDS[tuple[str, ...]] = "texts separated by commas"


def type_in_words(hint: Any) -> str:
    """Return the type of a field in words, or its choices as they are typed."""
    names = []
    for kind in _alternatives(hint):
        if typing.get_origin(kind) is Literal:
            names += map(as_typed, typing.get_args(kind))
        else:
            names.append(_IN_WORDS.get(kind, str(kind)))
    return either(names)


def either(names: Sequence[str]) -> str:
    """Return names as words, such as "mean, max or cls"."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
