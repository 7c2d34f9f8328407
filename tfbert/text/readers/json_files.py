"""Readers for JSON Lines and JSON files: arrays of objects, pandas' layouts and SQuAD's layout.

Each reader yields a `Row`, or a message for a bad row.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tfbert.config import DataConfig
from tfbert.text.readers.annotation_exports import unpack_export
from tfbert.text.readers.columns import Column, ColumnFinder, listing, shown, shown_json
from tfbert.text.readers.layout import Layout, Values
from tfbert.text.readers.object_rows import object_rows
from tfbert.text.readers.rows import Row, Source

_ON_LINES, _IN_ARRAY = "expected one object per line", "expected an array of objects"
_LAYOUTS = "expected an array of objects, an object with such an array, or a layout of pandas' to_json"
_SQUAD_KEYS = {"paragraphs", "context", "qas", "question", "answers", "is_impossible", "id"}
_SPLIT_NAMES = ("train", "validation", "valid", "val", "dev", "test")


def jsonl_rows(source: Source, lines: Iterable[str] | None = None) -> Iterator[Row | str]:
    """Yield the rows of a file with one JSON object per line.

    Args:
        source: the file.
        lines: the lines of the file; `None` reads them.

    Raises:
        ValueError: the keys of the first object do not determine the columns.
    """

    def objects() -> Iterator[tuple[str, Any] | str]:
        for number, line in enumerate(source.lines() if lines is None else lines, start=1):
            where = f"{source.name}:{number}"
            if not line.strip():
                continue
            try:
                yield where, json.loads(line.rstrip("\r\n"))
            except (ValueError, RecursionError) as error:
                column = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
                hint = "" if number > 1 else "; for a single array or object use --set data.format=json"
                yield f"{where}: not JSON ({getattr(error, 'msg', error)}{column}); {_ON_LINES}{hint}"

    source.layout.kind = "one object per line"
    return object_rows(*unpack_export(objects(), source), _ON_LINES)


def json_rows(source: Source) -> Iterator[Row | str]:
    """Yield the rows of a JSON file: objects in an array or wrapped in an object, pandas' layouts, or SQuAD's layout.

    A file with one object per line is streamed. Other files are loaded into memory, which takes about ten times their
    size.

    Raises:
        ValueError: the file is not JSON, has another layout, or has keys that do not determine the columns.
    """
    name, layout = source.name, source.layout
    stream = source.lines()
    head = list(itertools.islice((line for line in stream if line.strip()), 2))
    if len(head) == 2 and isinstance(_loaded(head[0]), dict):
        yield from jsonl_rows(source, itertools.chain(head, stream))
        return
    try:
        document = json.loads("".join([*head, *stream]))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: not JSON ({error}); {_LAYOUTS}") from None
    if isinstance(document, dict) and _is_squad(document.get("data")):
        if source.columns and not {"question", "context"} <= {column.role for column in source.columns}:
            raise ValueError(f"{name}: is in SQuAD's layout, which --task answers reads; {_LAYOUTS}")
        layout.kind, layout.noun = "SQuAD's layout", "key"
        yield from squad_rows(document["data"], name, layout)
        return
    layout.kind, items = _items(document, name, source.data, source.columns)
    yield from object_rows(*unpack_export(items, source), _IN_ARRAY)


def _items(
    document: Any, name: str, data: DataConfig, columns: Sequence[Column]
) -> tuple[str, Iterable[tuple[str, Any]]]:
    """Return a description of a document's layout, and pairs of location and object.

    Source: the `orient` values of pandas.DataFrame.to_json; `datasets.Dataset.to_dict` for lists by column.

    Raises:
        ValueError: the layout is unknown.
    """
    if isinstance(document, list):
        return "an array of objects", ((f"{name}[{index}]", item) for index, item in enumerate(document))
    if not isinstance(document, dict):
        raise ValueError(f"{name}: {shown_json(document)}; {_LAYOUTS}")
    names, table = document.get("columns"), document.get("data")
    has_column_keys = _are_column_names(list(document), data, columns)
    if has_column_keys and any(isinstance(value, str) for value in document.values()):
        return "one object", [(f"{name}:1", document)]
    if isinstance(names, list) and isinstance(table, list):
        rows = (dict(zip(names, row, strict=False)) if isinstance(row, list) else row for row in table)
        return "pandas' split layout", ((f"{name}: data[{index}]", row) for index, row in enumerate(rows))
    lists = {key: value for key, value in document.items() if _holds(value, dict)}
    if len(lists) == 1:
        (key, objects), *_ = lists.items()
        return f"an array of objects under {shown(key)}", (
            (f"{name}: {key}[{index}]", item) for index, item in enumerate(objects)
        )
    if len(lists) > 1:
        expected = "expected one array; write each to a separate file"
        expected += " (train, validation, test)" if set(lists) & set(_SPLIT_NAMES) else ""
        raise ValueError(f"{name}: several arrays of objects, under {listing(list(lists))}; {expected}")
    return _by_key(document, name, has_column_keys)


def _by_key(document: dict, name: str, has_column_keys: bool) -> tuple[str, Iterable[tuple[str, Any]]]:
    """Return the same as `_items` for a document whose keys are columns or row ids."""
    inner = list(document.values())
    if has_column_keys and inner and all(isinstance(value, dict) for value in inner):
        keys = dict.fromkeys(key for value in inner for key in value)
        rows = ((f"{name}: row {shown(key)}", {c: v.get(key) for c, v in document.items()}) for key in keys)
        return "pandas' columns layout", rows
    if has_column_keys and inner and all(isinstance(value, list) for value in inner):
        lengths = {column: len(value) for column, value in document.items()}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{shown(column)} {number}" for column, number in lengths.items())
            raise ValueError(
                f"{name}: lists of different lengths by column ({counts}); expected one value for each row"
            )
        rows = (
            (f"{name}: row {i}", dict(zip(document, row, strict=True)))
            for i, row in enumerate(zip(*inner, strict=True))
        )
        return "one list per column", rows
    if inner and all(isinstance(value, dict) for value in inner):
        return "one object per key", ((f"{name}: {shown(key)}", value) for key, value in document.items())
    raise ValueError(f"{name}: an object with the keys {listing(list(document))}; {_LAYOUTS}")


def _are_column_names(keys: list[str], data: DataConfig, columns: Sequence[Column]) -> bool:
    try:
        return bool(ColumnFinder(columns, data, "key").find(keys, ""))
    except ValueError:
        return False


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _holds(value: Any, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], kind)


def _is_squad(articles: Any) -> bool:
    """Return whether `data` of a document has SQuAD's layout, possibly damaged: a list of objects with paragraphs."""
    is_squad = _holds(articles, dict) and any(isinstance(a, dict) and "paragraphs" in a for a in articles)
    return is_squad or (_holds(articles, dict) and set(articles[0]) <= {"title", "paragraphs"})


def squad_rows(articles: list, name: str, layout: Layout) -> Iterator[Row | str]:
    """Yield a row per question of SQuAD's layout, with `question`, `context`, `answers`, `is_impossible`, `id`.

    `where` of a row names the question by its id, because the whole file is often a single line.

    Source: Rajpurkar et al. 2016 and 2018, the JSON layout of SQuAD 1.1 and 2.0.
    """
    layout.used = {role: [role] for role in ("question", "context", "answers")}
    for a, article in enumerate(articles):
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        if not isinstance(paragraphs, list):
            yield f"{name}: data[{a}] has no list 'paragraphs'; expected SQuAD's layout"
            continue
        for p, paragraph in enumerate(paragraphs):
            path = f"{name}: data[{a}].paragraphs[{p}]"
            if not isinstance(paragraph, dict) or not isinstance(paragraph.get("qas"), list):
                yield f"{path} has no list 'qas'; expected SQuAD's layout"
                continue
            for q, item in enumerate(paragraph["qas"]):
                if not isinstance(item, dict):
                    yield f"{path}.qas[{q}] is {shown_json(item)}; expected an object with a question"
                    continue
                for key in (article.keys() | paragraph.keys() | item.keys()) - _SQUAD_KEYS:
                    layout.unused.setdefault(key, Values())
                values = {key: item.get(key) for key in ("question", "answers", "is_impossible", "id")}
                where = f"{name}:{item['id']}" if item.get("id") else f"{path}.qas[{q}]"
                yield Row(where, values | {"context": paragraph.get("context")})
