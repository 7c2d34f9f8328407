"""Rows of a file from JSON objects, whose keys are the columns of the task."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfbert.text.readers.columns import ColumnFinder, listing, shown, shown_json
from tfbert.text.readers.layout import Layout, Values
from tfbert.text.readers.rows import Row, Source


def object_rows(objects: Iterable, source: Source, expected: str, noun: str = "key") -> Iterator[Row | str]:
    """Yield a row, or a message, for each JSON object.

    Args:
        objects: pairs of location and JSON value, or messages, which are yielded unchanged.
        source: the file.
        expected: what was expected instead of a value that is not an object, for messages.
        noun: the word for a key in messages, `key` or `column`.

    Raises:
        ValueError: the keys of the first object do not determine the columns.
    """
    layout, columns = source.layout, source.columns
    finder = ColumnFinder(columns, source.data, noun)
    keys: dict[str, Any] = {}
    known: set[str] = set()
    layout.noun = noun
    for item in objects:
        if isinstance(item, str):
            yield item
            continue
        where, value = item
        if not isinstance(value, dict):
            yield f"{where}: {shown_json(value)} is not an object; {expected}"
            continue
        if not keys:
            names = list(value)
            positions = finder.find(names, where)
            layout.set_used(names, positions)
            keys = {
                role: list(position) if isinstance(position, dict) else names[position]
                for role, position in positions.items()
            }
        if not value.keys() <= known:
            known |= value.keys()
            _add_later_keys(value, keys, finder, layout)
        absent = next(
            (c for c in columns if c.required and isinstance(keys[c.role], str) and keys[c.role] not in value), None
        )
        if absent:
            key = shown(keys[absent.role])
            yield f"{where}: no key {key} among {listing(list(value))}; expected it in every object"
        elif _repeats_names(value, keys):
            yield f"{where}: contains the names of the keys instead of values; remove it"
        else:
            for name, values in layout.unused.items():
                if values.is_needed:
                    values.add(value.get(name))
            yield Row(where, {role: _value(value, key) for role, key in keys.items()}, tuple(value.items()))


def _add_later_keys(value: Mapping[str, Any], keys: dict[str, Any], finder: ColumnFinder, layout: Layout) -> None:
    """Register keys that earlier objects did not have, because only some objects may have an optional column."""
    read = {name for key in keys.values() for name in ([key] if isinstance(key, str) else key)}
    unread = [name for name in value if name not in read]
    for column in finder.columns:
        free = [name for name in unread if name not in finder.ignored]
        if column.role not in keys and (key := column.key_among(free)) is not None:
            keys[column.role] = key
            layout.used[column.role] = [key]
            unread.remove(key)
            layout.unused.pop(key, None)
    for name in unread:
        layout.unused.setdefault(name, Values())


def _repeats_names(value: Mapping[str, Any], keys: Mapping[str, Any]) -> bool:
    named = [key for key in keys.values() if isinstance(key, str) and value.get(key) is not None]
    return len(named) > 1 and all(value[key] == key for key in named)


def _value(item: Mapping, key: str | list[str]) -> Any:
    return {name: item.get(name) for name in key} if isinstance(key, list) else item.get(key)
