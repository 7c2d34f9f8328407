"""Label Studio's JSON export: tasks with their data and annotations, as plain objects with a key per control tag.

Source: https://labelstud.io/guide/task_format and the tags Choices, Labels, Rating and Number of its documentation.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tfbert.text.readers.columns import listing, named_columns, option, shown_json
from tfbert.text.readers.rows import Source

# Types of results by the role that they can fill.
_TYPES = {"label": ("choices",), "labels": ("choices",), "entities": ("labels",), "value": ("rating", "number")}
_TASKS = {"choices": "classification or multilabel", "labels": "entities", "rating": "regression"}
_EXPECTED = "expected a task with data and annotations, as in Label Studio's JSON export"


def is_label_studio(value: Any) -> bool:
    """Return whether a JSON value is a task of Label Studio's JSON export; old versions wrote `completions`."""
    return isinstance(value, dict) and isinstance(value.get("data"), dict) and isinstance(_annotations(value), list)


def unpack_label_studio(objects: Iterator, source: Source) -> tuple[Iterator, Source]:
    """Return the tasks as plain objects, and the source with the control tag that fills the role of the target.

    An object has the keys of `data`, and a key per control tag, with its value: the list of choices, the labelled
    spans, or the number. Cancelled annotations are skipped and counted. Of several annotations of a task, equal ones
    count once, and one marked as ground truth takes precedence; other disagreement is an error.

    Args:
        objects: pairs of location and JSON value, or messages.
        source: the file.

    Raises:
        ValueError: no control tag or several ones could fill the role of the target.
    """
    items = list(objects)
    if not source.has_target:
        return (item if isinstance(item, str) else _data_only(*item) for item in items), source
    entries = [value for item in items if not isinstance(item, str) and is_label_studio(value := item[1])]
    controls: dict[str, str] = {}
    for entry in entries:
        for annotation in _kept(entry):
            for result in _results(annotation):
                controls.setdefault(result["from_name"], result["type"])
    role = next((column.role for column in source.columns if column.is_target and column.role in _TYPES), None)
    if role is None:
        raise ValueError(f"{source.name}: is Label Studio's JSON export; it is read for {', '.join(_TASKS.values())}")
    assigned = named_columns(source.columns, source.data.columns)
    if not entries:
        return _flat_tasks(items, source, {}, role), source
    if role not in assigned:
        assigned |= {role: [_control(controls, role, source.name)]}
        source = replace(source, data=replace(source.data, columns=json.dumps(assigned, ensure_ascii=False)))
    types = controls | {name: controls.get(name, _TYPES[role][0]) for name in assigned[role]}
    return _flat_tasks(items, source, types, role), source


def _annotations(entry: Mapping[str, Any]) -> Any:
    return entry.get("annotations", entry.get("completions"))


def _kept(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the annotations that were not cancelled."""
    return [a for a in _annotations(entry) if isinstance(a, dict) and not a.get("was_cancelled")]


def _results(annotation: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the results of control tags, without relations between spans."""
    results = annotation.get("result")
    for result in results if isinstance(results, list) else ():
        names = (result.get("from_name"), result.get("type")) if isinstance(result, dict) else ()
        if names and all(isinstance(name, str) for name in names) and isinstance(result.get("value"), dict):
            yield result


def _control(controls: Mapping[str, str], role: str, name: str) -> str:
    """Return the name of the only control tag that can fill a role."""
    fitting = [control for control, kind in controls.items() if kind in _TYPES[role]]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        expected = f"expected one, such as {option('data.columns', f'{role}={fitting[0]}')}"
        raise ValueError(f"{name}: more than one control tag could be the {role}: {listing(fitting)}; {expected}")
    if not controls:
        raise ValueError(f"{name}: no task has an annotation; expected at least one that is not cancelled")
    existing = listing([f"{control} ({kind})" for control, kind in controls.items()])
    hint = next((f"; use --task {_TASKS[kind]}" for kind in controls.values() if kind in _TASKS), "")
    raise ValueError(f"{name}: no control tag of the type {' or '.join(_TYPES[role])} among {existing}{hint}")


def _data_only(where: str, entry: Any) -> tuple[str, Any]:
    return where, entry["data"] if isinstance(entry, dict) and isinstance(entry.get("data"), dict) else entry


def _flat_tasks(items: Sequence, source: Source, types: Mapping[str, str], role: str) -> Iterator:
    layout = source.layout
    for item in items:
        if isinstance(item, str):
            yield item
            continue
        where, entry = item
        if not is_label_studio(entry):
            yield f"{where}: {shown_json(entry)}; {_EXPECTED}"
            continue
        where = f"{where} (task {entry['id']})" if "id" in entry else where
        damaged = [a for a in _annotations(entry) if not isinstance(a, dict) or not isinstance(a.get("result"), list)]
        if damaged:
            yield f"{where}: annotation {shown_json(damaged[0])}; expected an object with a list of results"
            continue
        kept = _kept(entry)
        if not kept:
            layout.count("unannotated task")
            continue
        for _ in range(len(_annotations(entry)) - len(kept)):
            layout.count("cancelled annotation")
        annotations = [a for a in kept if a.get("ground_truth")] or kept
        values = [_values(annotation, types, role, entry["data"], source) for annotation in annotations]
        if any(other != values[0] for other in values):
            expected = "expected one, equal ones, or one marked as ground truth in Label Studio"
            yield f"{where}: {len(values)} annotations differ; {expected}"
            continue
        for _ in range(len(kept) - 1):
            layout.count("repeated annotation")
        data = {key if key not in types else f"data.{key}": value for key, value in entry["data"].items()}
        yield where, {**data, **values[0]}


def _values(
    annotation: Mapping[str, Any], types: Mapping[str, str], role: str, data: Mapping[str, Any], source: Source
) -> dict[str, Any]:
    """Return the value of each control tag; without result, it is an empty list or `None`."""
    values = {name: [] if kind == "labels" or role == "labels" else None for name, kind in types.items()}
    for result in _results(annotation):
        name, kind, value = result["from_name"], result["type"], result["value"]
        if kind == "labels":
            values[name] = [*(values[name] or ()), _span(value, data)]
        elif kind == "choices" and "start" in value:
            source.layout.count("per-region choice")
        elif kind == "choices":
            chosen = value.get("choices")
            values[name] = [*(values[name] or ()), *(chosen if isinstance(chosen, list) else [chosen])]
        else:
            values[name] = value.get(kind)
    for result in annotation.get("result") or ():
        if isinstance(result, dict) and result.get("type") == "relation":
            source.layout.count("relation")
    return values


def _span(value: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a labelled span with positions in characters, and the stated text if it is at none of them.

    Versions of 2021 count UTF-16 units, as browsers do, of which emoji have two. The export may contain escaped line
    ends.

    Source: issue 1008 of HumanSignal/label-studio.
    """
    start, end, stated = (value.get(key) for key in ("start", "end", "text"))
    span = {"start": start, "end": end, "label": value.get("labels")}
    if not isinstance(stated, str) or type(start) is not int or type(end) is not int:
        return span
    expected = (stated, stated.replace("\\n", "\n"))
    texts = [text for text in data.values() if isinstance(text, str)]
    if any(text[start:end] in expected for text in texts):
        return span
    for text in texts:
        units = text.encode("utf-16-le", "surrogatepass")
        before, inside = (units[2 * a : 2 * b].decode("utf-16-le", "replace") for a, b in ((0, start), (start, end)))
        if inside in expected:
            return span | {"start": len(before), "end": len(before) + len(inside)}
    return span | {"text": stated}
