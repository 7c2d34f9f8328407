"""The report page of a search, written from its `report.json`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from tfbert.evaluation.formatting import date, duration, number
from tfbert.evaluation.headline import run_title
from tfbert.evaluation.metric import Metric
from tfbert.evaluation.page_parts import write_page
from tfbert.fields import as_typed
from tfbert.hyperparameters import plots
from tfbert.hyperparameters.confirm import DEFAULT, named
from tfbert.hyperparameters.importance import importances
from tfbert.tasks.base_config import list_options

_SECTIONS = {
    "course": "Scores by trial",
    "confirmed": "Fresh seeds",
    "importance": "Importance of hyperparameters",
    "winner": "Winning config",
    "trials": "Trials",
    "cost": "Time and memory",
    "repeat": "Repeat this search",
}


def render(report: dict, path: Path) -> None:
    """Write the report of a search as one self-contained HTML file.

    Args:
        report: the content of `report.json`.
        path: the file to write; an existing file is replaced.
    """
    paths = list(report["plan"]["space"])
    scored = [trial for trial in report["trials"] if trial["score"] is not None]
    metric = Metric.from_json(report["objective"])
    views = {
        "course": [plots.history(scored, metric)],
        "confirmed": _confirmed(report),
        "importance": _importance(scored, paths, metric),
        "winner": [(field, as_typed(value)) for field, value in report["values"].items()],
        "trials": _trials(report, paths),
    }
    defaults = {option: default for option, default, *_ in list_options(report["task"])}
    write_page("search.html.jinja", path, _SECTIONS, report, defaults=defaults, headline=_headline(report), **views)


def _headline(report: dict) -> dict:
    declared, plan = Metric.from_json(report["objective"]), report["plan"]
    split = "test" if report["test"] else "validation"
    metric = report[split]["metrics"].get(declared.name)
    value = metric["value"] if metric else None
    interval = declared.format_interval(metric.get("low"), metric.get("high")) if metric else ""
    states = [trial["state"] for trial in report["trials"]]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    summary = [
        ("Date", date(report.get("first_update_at"))),
        ("Algorithm", plan["algorithm"]),
        ("Trials", f"{len(states)}: {', '.join(counts)}"),
        ("Trainings per trial", str(plan["executions"])),
        ("Encoder", report["encoder"]["name"]),
        ("Time of the trials", duration(report["seconds"]["trials"])),
    ]
    if report["candidates"]:
        num_trainings = sum(len(candidate["scores"]) for candidate in report["candidates"] if "scores" in candidate)
        spent = duration(report["seconds"]["confirm"])
        summary.append(("Confirmation", f"{num_trainings} trainings with fresh seeds, {spent}"))
    view = {
        "title": f"Search: {run_title(report)}",
        "run": report.get("run"),
        "metric": declared.title,
        "split": split,
        "interval": interval,
    }
    summary = [(name, shown) for name, shown in summary if shown]
    view |= {"score": declared.format(value), "sentence": report["sentence"], "summary": summary, "notes": []}
    if report["test"] is None:
        view["notes"] = ["There is no test split. The score on validation, which chose the winner, is too optimistic."]
    return view | {"winner": named(report["winner"]), "num_examples": report[split]["num_examples"]}


def _confirmed(report: dict) -> dict | None:
    """Return the candidates with their scores with fresh seeds, best mean first."""
    if not report["candidates"]:
        return None
    metric = Metric.from_json(report["objective"])
    trained = [candidate for candidate in report["candidates"] if "mean" in candidate and not candidate["failed"]]
    trained.sort(key=lambda candidate: -metric.sign * candidate["mean"])
    rows = [
        {
            "name": named(candidate["name"]),
            "best": candidate["name"] == report["winner"],
            "mean": metric.format(candidate["mean"]),
            "spread": metric.format(float(np.std(candidate["scores"], ddof=1)))
            if len(candidate["scores"]) > 1
            else "–",
            "scores": [metric.format(value) for value in candidate["scores"]],
        }
        for candidate in trained
    ]
    failed = [
        {"name": named(candidate["name"]), "failed": candidate["failed"]}
        for candidate in report["candidates"]
        if candidate["failed"]
    ]
    view = {"rows": rows, "failed": failed, "comparison": None}
    comparison = report["comparison"]
    if comparison and report["winner"] != DEFAULT:
        view["comparison"] = {
            "split": comparison["split"],
            "ours": metric.format(comparison["ours"]["mean"]),
            "theirs": metric.format(comparison["theirs"]["mean"]),
            "better": comparison["better_fraction"],
        }
    return view


def _importance(scored: Sequence[dict], paths: Sequence[str], metric: Metric) -> dict | None:
    varied = [path for path in paths if len({repr(trial["values"].get(path)) for trial in scored}) > 1]
    if not varied:
        return None
    scatters = [plots.by_value(scored, path, metric) for path in varied]
    fractions = sorted(importances(scored, varied).items(), key=lambda pair: -pair[1])
    rows = [{"name": path, "fraction": fraction} for path, fraction in fractions]
    return {"plots": scatters, "rows": rows}


def _trials(report: dict, paths: Sequence[str]) -> dict:
    """Return all trials, best first; trials without a score come last."""
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
    columns = ["trial", metric.title, *(Markup("<wbr>.").join(path.split(".")) for path in paths), "time"]
    return {"columns": columns, "rows": rows}


def _cell(value: Any) -> str:
    return number(value) if isinstance(value, float) else as_typed(value)
