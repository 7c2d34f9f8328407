"""Parts that all report pages share: the template, the table of the history, the summary, cost and repetition.

A page is self-contained: a content security policy in its head forbids the network, and all scripts except `page.js`.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tfbert.evaluation.formatting import breakable, duration, is_number, number, percent, size, words
from tfbert.evaluation.metric import Metric
from tfbert.evaluation.text_table import link
from tfbert.fields import as_typed, flatten
from tfbert.files import writing


def write_page(
    template: str,
    path: Path,
    sections: Mapping[str, str],
    report: Mapping,
    *,
    defaults: Mapping[str, Any] | None = None,
    **views: Any,
) -> None:
    """Write a page, with the time and memory of the run and how to repeat it at the end.

    Args:
        template: name of a template in this directory that extends `base.html.jinja`.
        path: the file to write; an existing file is replaced.
        sections: headings by section, in order, with `cost` and `repeat`; sections whose view is empty are omitted.
        report: the content of `report.json`.
        defaults: default of each config field that was used, by path; other fields are left out. `None` shows all
            fields.
        **views: variables of the template: `headline`, with at least `title`, `score`, `sentence`, `notes` and
            `summary`, and one variable per section. `headline` may also have `run`, the name of the run.
    """
    views |= {"cost": _cost_view(report), "repeat": _repeat_view(report, defaults)}
    toc = {name: heading for name, heading in sections.items() if views[name]}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    environment.globals |= {"number_columns": _number_columns, "link": link}
    environment.globals |= {"script": Markup(script), "script_hash": f"sha256-{digest}"}
    environment.filters |= {f.__name__: f for f in (percent, number, duration, words, as_typed, breakable)}
    page = environment.get_template(template).render(toc=toc, **views)
    # A text may contain half a surrogate pair, which UTF-8 cannot encode.
    with writing(path):
        path.write_bytes(page.encode("utf-8", errors="replace"))


def summary_view(encoder: str, lines: Iterable[tuple[str, str]], report: Mapping) -> list[tuple[str, str]]:
    """Return the summary of a training at the top of its page: names and values, without empty values.

    Args:
        encoder: name of the encoder, or a description.
        lines: what is particular to this kind of training.
        report: the content of `report.json`.
    """
    seconds, seed = report.get("seconds") or {}, report.get("seed")
    training = "" if seconds.get("train") is None else duration(seconds["train"])
    total = duration(_total(seconds)) if training else ""
    summary = [("Encoder", encoder), *lines, ("Training time", training), ("Total time", total)]
    summary.append(("Seed", "" if seed is None else str(seed)))
    return [(name, value) for name, value in summary if value]


@dataclass(frozen=True)
class Column:
    """A column of the table of a history.

    Args:
        name: the heading.
        cell: returns the text of an entry of the history.
        meaning: explanation below the heading; `None` for none.
    """

    name: str
    cell: Callable[[Mapping], str]
    meaning: str | None = None


def score_columns(metrics: Iterable[Metric], key: str, prefix: str = "", with_meaning: bool = False) -> list[Column]:
    """Return a column for each metric; scores that an entry lacks are shown as missing.

    Args:
        metrics: the metrics to show.
        key: key of the scores in an entry of the history.
        prefix: starts every heading.
        with_meaning: whether to explain the metrics.
    """

    def column(metric: Metric) -> Column:
        meaning = metric.meaning if with_meaning else None
        return Column(
            prefix + metric.title, lambda entry: metric.format((entry.get(key) or {}).get(metric.name)), meaning
        )

    return [column(metric) for metric in metrics]


def history_table(
    history: Iterable[Mapping], columns: Sequence[Column], is_best: Callable[[Mapping], bool]
) -> dict[str, list]:
    """Return the table of a history, one row per entry.

    Args:
        history: entries of the history in `report.json`.
        columns: the columns of the table.
        is_best: returns whether the weights after an entry were kept.
    """
    rows = [{"best": is_best(entry), "cells": [column.cell(entry) for column in columns]} for entry in history]
    return {"columns": [{"name": column.name, "meaning": column.meaning} for column in columns], "rows": rows}


def _number_columns(rows: Sequence[Sequence]) -> set[int]:
    """Return the indices of the columns to align right: they contain only numbers. The first column names the row."""
    columns = enumerate(zip(*rows, strict=True))
    return {
        index
        for index, cells in columns
        if index and all(not isinstance(cell, str) or is_number(cell) for cell in cells)
    }


def _cost_view(report: Mapping) -> dict | None:
    """Return the duration of every stage and the peak memory."""
    stages = [(name, value) for name, value in (report.get("seconds") or {}).items() if value is not None]
    memory = report.get("peak_memory_bytes")
    if not stages and not memory:
        return None
    total = _total(report.get("seconds") or {})
    rows = [{"stage": name, "seconds": value, "fraction": value / total if total else 0} for name, value in stages]
    return {"rows": rows, "total": total, "memory": size(memory) if memory else None}


def _total(seconds: Mapping[str, float | None]) -> float:
    """Return the total duration of the stages, as the leaderboard of runs shows it."""
    return sum(value for value in seconds.values() if value is not None)


def _repeat_view(report: Mapping, defaults: Mapping[str, Any] | None) -> dict | None:
    """Return the command, the config by section with what differs from its defaults, the encoder and the versions."""
    config, encoder, resolved = (report.get(key) or {} for key in ("config", "encoder", "resolved"))
    # Tuples are lists in the report.
    defaults = None if defaults is None else json.loads(json.dumps(dict(defaults)))
    sections: dict[str, list] = {}
    for path, value in flatten(config):
        if defaults is None or path in defaults:
            section, _, name = path.rpartition(".")
            default = None if defaults is None or defaults[path] == value else as_typed(defaults[path])
            used = f" ({_shown(resolved[path])})" if value is None and path in resolved else ""
            sections.setdefault(section or "run", []).append((name, f"{as_typed(value)}{used}", default))
    architecture = [(words(name), number(value), None) for name, value in encoder.items() if _is_size(value)]
    versions = [(name, version, None) for name, version in (report.get("versions") or {}).items()]
    groups = sections | {"architecture of the encoder": architecture, "versions": versions}
    groups = {name: fields for name, fields in groups.items() if fields}
    command = report.get("command")
    if not groups and not command:
        return None
    config_json = json.dumps(config, indent=2, ensure_ascii=False) if config else None
    has_changes = any(default is not None for fields in sections.values() for *_, default in fields)
    return {"command": command, "groups": groups, "config_json": config_json, "has_changes": has_changes}


def _shown(value: Any) -> str:
    return number(value) if isinstance(value, int | float) else str(value)


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
