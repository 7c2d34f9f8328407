"""Write `report.html` of a search: the content of its `report.json` in, one file for people out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from tfbert.evaluation.formatting import duration, number, setting, words
from tfbert.evaluation.metric import Metric
from tfbert.evaluation.report_page import cost_view, repeat_view, write_page
from tfbert.search import plots
from tfbert.search.confirm import DEFAULT
from tfbert.search.importance import importances

_SECTIONS = {
    "course": "Course",
    "confirmed": "Fresh seeds",
    "importance": "What mattered",
    "winner": "Winning config",
    "trials": "Trials",
    "cost": "Time and memory",
    "repeat": "Repeat this search",
}


def render(report: dict, path: Path) -> None:
    """Write the report of a search as one self-contained HTML file.

    Args:
        report: the content of `report.json`.
        path: the file to write; an existing one is replaced.
    """
    paths = list(report["plan"]["space"])
    scored = [trial for trial in report["trials"] if trial["score"] is not None]
    metric = Metric.from_json(report["objective"])
    views = {
        "course": [plots.history(scored, metric.name, metric.better == "higher")],
        "confirmed": _confirmed(report),
        "importance": _importance(scored, paths, metric.name),
        "winner": [(field, setting(value)) for field, value in report["values"].items()],
        "trials": _trials(report, paths),
        "cost": cost_view(report),
        "repeat": repeat_view(report),
    }
    toc = {section: heading for section, heading in _SECTIONS.items() if views[section]}
    write_page("search.html.jinja", path, toc=toc, headline=_headline(report), **views)


def _headline(report: dict) -> dict:
    declared, plan = Metric.from_json(report["objective"]), report["plan"]
    split = "test" if report["test"] else "validation"
    metric = report[split]["metrics"].get(declared.name)
    value = metric["value"] if metric else None
    interval = None
    if metric and metric.get("low") is not None:
        interval = f"{declared.format(metric['low']).removesuffix(' %')} to {declared.format(metric['high'])}"
    states = [trial["state"] for trial in report["trials"]]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    facts = [
        ("Algorithm", plan["algorithm"]),
        ("Trials", f"{len(states)}: {', '.join(counts)}"),
        ("Trainings of a trial", str(plan["executions"])),
        ("Encoder", report["encoder"]["name"]),
        ("Trials took", duration(report["seconds"]["trials"])),
    ]
    winner = "the default config" if report["winner"] == DEFAULT else f"trial {report['winner']}"
    view = {"title": f"Search: {report['task']}", "metric": words(declared.name), "split": split, "interval": interval}
    view |= {"score": declared.format(value), "sentence": report["sentence"], "facts": facts, "notes": []}
    if report["test"] is None:
        view["notes"] = ["There is no test split. What validation says of a winner that it chose is too good."]
    return view | {"winner": winner, "num_examples": report[split]["num_examples"]}


def _confirmed(report: dict) -> dict | None:
    """Return the candidates with their scores on fresh seeds, the highest mean first."""
    if not report["candidates"]:
        return None
    metric = Metric.from_json(report["objective"])
    tried = [candidate for candidate in report["candidates"] if "mean" in candidate and not candidate["failed"]]
    tried.sort(key=lambda candidate: -metric.sign * candidate["mean"])
    rows = [
        {
            "name": candidate["name"],
            "best": candidate["name"] == report["winner"],
            "mean": metric.format(candidate["mean"]),
            "spread": metric.format(float(np.std(candidate["scores"], ddof=1)))
            if len(candidate["scores"]) > 1
            else "–",
            "scores": ", ".join(metric.format(value) for value in candidate["scores"]),
        }
        for candidate in tried
    ]
    failed = [candidate for candidate in report["candidates"] if candidate["failed"]]
    view = {"rows": rows, "failed": failed, "comparison": None}
    compared = report["comparison"]
    if compared and report["winner"] != DEFAULT:
        view["comparison"] = {
            "split": compared["split"],
            "ours": metric.format(compared["ours"]["mean"]),
            "theirs": metric.format(compared["theirs"]["mean"]),
            "better": compared["better_fraction"],
        }
    return view


def _importance(scored: Sequence[dict], paths: Sequence[str], name: str) -> dict | None:
    varied = [path for path in paths if len({repr(trial["values"].get(path)) for trial in scored}) > 1]
    if not varied:
        return None
    scatters = [plots.by_value(scored, path, name) for path in varied]
    found = importances(scored, varied)
    rows = [{"name": path, "share": share} for path, share in sorted(found.items(), key=lambda pair: -pair[1])]
    return {"plots": scatters, "rows": rows}


def _trials(report: dict, paths: Sequence[str]) -> dict:
    """Return all trials, best first, those without a score last."""
    metric = Metric.from_json(report["objective"])
    order = sorted(
        report["trials"], key=lambda trial: (trial["score"] is None, -metric.sign * (trial["score"] or 0), trial["id"])
    )
    rows = [
        {
            "best": trial["id"] == report["winner"],
            "cells": [trial["id"], metric.format(trial["score"])]
            + [_cell(trial["values"][path]) if path in trial["values"] else "–" for path in paths]
            + [duration(trial["seconds"])],
            "note": "; ".join(([] if trial["state"] == "finished" else [trial["state"]]) + trial["notes"]),
        }
        for trial in order
    ]
    heads = ["trial", words(metric.name), *(Markup("<wbr>.").join(path.split(".")) for path in paths), "time"]
    return {"columns": heads, "rows": rows}


def _cell(value: Any) -> str:
    return number(value) if isinstance(value, float) else setting(value)
