"""Exports of annotation tools as JSON: Label Studio, doccano and Prodigy, recognized by their keys.

Their objects become plain objects with a text and a label, labels or entities.

Source: https://doccano.github.io/doccano and https://prodi.gy/docs/api-interfaces for the keys.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tfbert.fields import either
from tfbert.text.readers.columns import shown_json
from tfbert.text.readers.label_studio import is_label_studio, unpack_label_studio
from tfbert.text.readers.rows import Source

_VERDICTS = {"accept": "accepted", "reject": "rejected", "ignore": "ignored"}
_DOCCANO_EXTRAS = ("relations", "Comments", "comments")
# What Prodigy's interface needs, besides keys that begin with an underscore.
_PRODIGY_EXTRAS = ("answer", "tokens", "options", "config", "style", "priority", "time")


@dataclass(frozen=True)
class Tool:
    """An annotation tool whose export is converted to plain objects.

    Args:
        title: the name of the export for the description of a file.
        recognizes: whether an object comes from the tool.
        unpack: function of the objects and the source that returns plain objects, and the source to read them from.
    """

    title: str
    recognizes: Callable[[Mapping[str, Any]], bool]
    unpack: Callable[[Iterator, Source], tuple[Iterator, Source]]


def unpack_export(objects: Iterable, source: Source) -> tuple[Iterator, Source]:
    """Return plain objects if objects come from an annotation tool, otherwise the same objects.

    Args:
        objects: pairs of location and JSON value, or messages.
        source: the file; if `data.format` is not the name of a tool, the first object decides.

    Returns:
        The objects, and the source to read them from, whose settings may assign columns.

    Raises:
        ValueError: an export does not have the annotations that the task learns from.
    """
    stream = iter(objects)
    head = []
    for item in stream:
        head.append(item)
        if not isinstance(item, str) and isinstance(item[1], dict):
            break
    objects = itertools.chain(head, stream)
    first = next((item[1] for item in head if not isinstance(item, str) and isinstance(item[1], dict)), {})
    tool = TOOLS.get(source.data.format) or next((t for t in TOOLS.values() if t.recognizes(first)), None)
    if tool is None:
        return objects, source
    source.layout.kind = f"{tool.title}, {source.layout.kind}"
    return tool.unpack(objects, source)


def _is_prodigy(value: Mapping[str, Any]) -> bool:
    marks = ("_input_hash", "_task_hash", "spans", "accept", "options")
    return _verdict(value) is not None and any(key in value for key in marks)


def _verdict(value: Mapping[str, Any]) -> str | None:
    answer = value.get("answer")
    return answer if isinstance(answer, str) and answer in _VERDICTS else None


def _unpack_prodigy(objects: Iterator, source: Source) -> tuple[Iterator, Source]:
    has_target = source.has_target
    has_spans = any(column.role == "entities" for column in source.columns)

    def unpack(where: str, value: Mapping[str, Any]) -> tuple[str, Any] | str | None:
        verdict = _verdict(value)
        if has_target and verdict is None:
            return f"{where}: answer is {shown_json(value.get('answer'))}; expected {either(list(_VERDICTS))}"
        if has_target and verdict != "accept":
            source.layout.count(f"{_VERDICTS[verdict]} example")
            return None
        return where, _plain_prodigy(value, has_spans)

    return _unpacked(objects, unpack), source


def _plain_prodigy(value: Mapping[str, Any], has_spans: bool) -> dict[str, Any]:
    """Return the object without the keys that only Prodigy's interface needs, and without the other kind of label."""
    unread = (*_PRODIGY_EXTRAS, "accept", *(("label",) if has_spans else ("spans",)))
    plain = {key: v for key, v in value.items() if not key.startswith("_") and key not in unread}
    if has_spans:
        return plain | {"spans": value.get("spans", [])}
    if isinstance(value.get("accept"), list):
        # The id of an option is its label, unless options are numbered.
        options = value.get("options") if isinstance(value.get("options"), list) else ()
        texts = {o["id"]: o.get("text") for o in options if isinstance(o, dict) and isinstance(o.get("id"), int)}
        plain["label"] = [texts.get(i) or i if isinstance(i, int) else i for i in value["accept"]]
    return plain


def _is_doccano(value: Mapping[str, Any]) -> bool:
    if not isinstance(value.get("text"), str):
        return False
    if "entities" in value and "relations" in value:
        return True
    spans = next((value[key] for key in ("entities", "label", "labels") if isinstance(value.get(key), list)), [])
    return bool(spans) and all(_is_doccano_span(span) for span in spans)


def _is_doccano_span(span: Any) -> bool:
    if isinstance(span, dict):
        return "start_offset" in span and "end_offset" in span
    return isinstance(span, list) and [type(value) for value in span] == [int, int, str]


def _unpack_doccano(objects: Iterator, source: Source) -> tuple[Iterator, Source]:
    def unpack(where: str, value: Mapping[str, Any]) -> tuple[str, Any] | str:
        relations = value.get("relations") or []
        if not isinstance(relations, list):
            return f"{where}: relations is {shown_json(relations)}; expected a list"
        for _ in relations:
            source.layout.count("relation")
        return where, {key: v for key, v in value.items() if key not in _DOCCANO_EXTRAS}

    return _unpacked(objects, unpack), source


def _unpacked(
    objects: Iterator, unpack: Callable[[str, Mapping[str, Any]], tuple[str, Any] | str | None]
) -> Iterator[tuple[str, Any] | str]:
    """Yield what a function returns for each object, except `None`; other values and messages stay as they are."""
    for item in objects:
        if isinstance(item, str) or not isinstance(item[1], dict):
            yield item
        elif (unpacked := unpack(*item)) is not None:
            yield unpacked


# The tools by the values of `data.format`.
TOOLS = {
    "label_studio": Tool("Label Studio's JSON export", is_label_studio, unpack_label_studio),
    "prodigy": Tool("Prodigy's export", _is_prodigy, _unpack_prodigy),
    "doccano": Tool("doccano's export", _is_doccano, _unpack_doccano),
}
