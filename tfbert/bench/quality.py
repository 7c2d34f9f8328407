"""Public data sets in, a table of test scores out, next to those of a peer.

Every training is `tools/train.py` in a process of its own, with default settings, and every number is read from the
`report.json` it leaves. A run that is there already is not repeated, so a stopped table goes on where it was.
"""

import hashlib
import json
import logging
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tfbert.bench.commands import run_tool
from tfbert.bench.datasets import DATA_SETS, DataSet, check_names
from tfbert.files import read_json, write_json

logger = logging.getLogger(__name__)


def measure(
    data_dir: Path, out_dir: Path, names: Sequence[str] = (), repeat: bool = False, most_seeds: int | None = None
) -> list[dict]:
    """Train and score every data set that is there.

    Args:
        data_dir: holds the data sets in folders of their own.
        out_dir: for runs, prepared data and `quality.json`.
        names: of the rows wanted; empty means all.
        repeat: train everything a second time and compare the weights' bytes.
        most_seeds: trainings of a row with different seeds; `None` means as many as the row wants.

    Returns:
        A dict a row: `name`, `task`, `num_examples`, `metrics` and `peer_metrics` (by metric, each `values`, `mean`,
        `std`, and the interval `low`, `high` where there was one training of ours), `peer`, `seconds` and
        `peer_seconds` a training, `peak_memory_bytes`, `repeats_equal`.

    Raises:
        ValueError: an unknown name, or a data set that was asked for by name and is not there.
    """
    check_names(names, [entry.name for entry in DATA_SETS])
    rows = []
    for entry in DATA_SETS:
        if names and entry.name not in names:
            continue
        if not (data_dir / entry.path).exists():
            if names:
                raise ValueError(f"{data_dir / entry.path}: is not there; wanted the data of '{entry.name}'")
            logger.info("%s: no %s, left out", entry.name, data_dir / entry.path)
            continue
        if most_seeds:
            entry = replace(entry, num_seeds=min(entry.num_seeds, most_seeds))
        rows.append(_row(entry, data_dir, out_dir, repeat))
        logger.info("%s", to_markdown(rows[-1:]).splitlines()[-1])
        _keep(rows[-1], out_dir / "quality.json")
    return rows


def to_markdown(rows: list[dict]) -> str:
    """Return the table."""
    lines = [
        "| data | test examples | metric | tfbert | peer | which peer | minutes a training | peak memory "
        "| same seed, same weights |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        equal = {None: "not tried", True: "equal", False: "DIFFERENT"}[row["repeats_equal"]]
        for index, (metric, summary) in enumerate(row["metrics"].items()):
            of_peer = row["peer_metrics"].get(metric)
            cells = [row["name"], f"{row['num_examples']:,}", metric.replace("_", " "), _score(summary)]
            cells += [_score(of_peer) if of_peer else "", row["peer"] if of_peer else ""]
            first = [f"{row['seconds'] / 60:.1f}", f"{row['peak_memory_bytes'] / 2**30:.1f} GiB", equal]
            lines.append("| " + " | ".join([*cells, *(["", "", ""] if index else first)]) + " |")
    return "\n".join(lines)


def _row(entry: DataSet, data_dir: Path, out_dir: Path, repeat: bool) -> dict:
    reports, of_peer, equal, seconds = [], [], [], []
    for draw in range(entry.num_draws):
        data = entry.data_of(data_dir, out_dir, draw)
        for seed in range(entry.num_seeds):
            run_dir = out_dir / f"{entry.slug}-{draw}-{seed}"
            reports.append(train_once(entry, data, run_dir, seed))
            seconds.append(read_json(run_dir / "wall.json")["seconds"])
            if repeat:
                again = out_dir / f"{entry.slug}-{draw}-{seed}-again"
                train_once(entry, data, again, seed)
                equal.append(_sha256(run_dir / "best.safetensors") == _sha256(again / "best.safetensors"))
            # A peer without training does the same for every seed.
            if entry.peer and (entry.peer_has_seeds or seed == 0):
                of_peer.append(entry.peer(run_dir))
    found = [scores for scores in of_peer if scores]
    metrics = {metric: [report["test"]["metrics"][metric] for report in reports] for metric in entry.metrics}
    return {
        "name": entry.name,
        "task": entry.task,
        "num_examples": reports[0]["test"]["num_examples"],
        "metrics": {metric: _summary(scores) for metric, scores in metrics.items()},
        "peer": entry.peer_name,
        "peer_metrics": {
            metric: _summary([{"value": scores[metric]} for scores in found])
            for metric in entry.metrics
            if found and metric in found[0]
        },
        "seconds": statistics.median(seconds),
        "peer_seconds": statistics.median(s["seconds"] for s in found) if found and "seconds" in found[0] else None,
        "peak_memory_bytes": max(report["peak_memory_bytes"] for report in reports),
        "repeats_equal": all(equal) if equal else None,
    }


def train_once(entry: DataSet, data: Path, run_dir: Path, seed: int) -> dict:
    """Return the report of one training of a row, which is done if it is not there.

    Args:
        entry: says which task and settings.
        data: what `--data` takes.
        run_dir: of the run; `wall.json` in it will hold the `seconds` of the whole command.
        seed: of the run.
    """
    report = run_dir / "report.json"
    if not report.exists():
        arguments = ["--task", entry.task, "--data", str(data), "--out", str(run_dir), "--no-export"]
        started = time.monotonic()
        run_tool("train", [*arguments, "--seed", str(seed)], entry.settings)
        (run_dir / "wall.json").write_text(json.dumps({"seconds": time.monotonic() - started}), encoding="utf-8")
    return json.loads(report.read_text(encoding="utf-8"))


def _keep(row: dict, path: Path) -> None:
    """Put a row into the file, in the place of an older one of its name; rows of other names stay."""
    rows = read_json(path)["rows"] if path.exists() else []
    by_name = {other["name"]: other for other in rows} | {row["name"]: row}
    order = [entry.name for entry in DATA_SETS]
    write_json(path, {"rows": sorted(by_name.values(), key=lambda row: order.index(row["name"]))})


def _summary(scores: list[dict]) -> dict:
    values = [score["value"] for score in scores]
    if len(values) == 1:
        return {"values": values, "mean": values[0], "std": None} | {k: scores[0].get(k) for k in ("low", "high")}
    return {"values": values, "mean": statistics.mean(values), "std": statistics.stdev(values)}


def _score(summary: dict) -> str:
    if summary["std"] is not None:
        return f"{summary['mean']:.3f} ± {summary['std']:.3f} ({len(summary['values'])} trainings)"
    interval = f" ({summary['low']:.3f} to {summary['high']:.3f})" if summary["low"] is not None else ""
    return f"{summary['mean']:.3f}{interval}"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
