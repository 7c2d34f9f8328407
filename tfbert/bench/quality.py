"""Public data sets in, a table of test scores out, next to the frozen encoder with logistic regression.

Every training is `tools/train.py` in a process of its own, with default settings, and every number is read from the
`report.json` it leaves. A run that is there already is not repeated, so a stopped table goes on where it was.
"""

import hashlib
import json
import logging
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tfbert.bench.baseline import frozen_accuracy
from tfbert.bench.datasets import DATA_SETS, DataSet
from tfbert.config import Config, override, parse_assignments

logger = logging.getLogger(__name__)

_TRAIN = Path(__file__).parents[2] / "tools" / "train.py"


def measure(data_dir: Path, out_dir: Path, names: Sequence[str] = (), repeat: bool = False) -> list[dict]:
    """Train and score every data set that is there.

    Args:
        data_dir: holds the data sets in folders of their own.
        out_dir: for runs, prepared data and `quality.json`.
        names: of the rows wanted; empty means all.
        repeat: train everything a second time and compare the weights' bytes.

    Returns:
        A dict a row: `name`, `num_examples`, `accuracy`, `macro_f1` (each `values`, `mean`, `std`, and the interval
        `low`, `high` where there was one training), `frozen`, `seconds`, `peak_memory_bytes`, `repeats_equal`.

    Raises:
        ValueError: an unknown name, or a data set that was asked for by name and is not there.
    """
    known = [entry.name for entry in DATA_SETS]
    for name in names:
        if name not in known:
            raise ValueError(f"--only '{name}' is not one of {', '.join(known)}")
    rows = []
    for entry in DATA_SETS:
        if names and entry.name not in names:
            continue
        if not (data_dir / entry.path).exists():
            if names:
                raise ValueError(f"{data_dir / entry.path}: is not there; wanted the data of '{entry.name}'")
            logger.info("%s: no %s, left out", entry.name, data_dir / entry.path)
            continue
        rows.append(_row(entry, data_dir, out_dir, repeat))
        logger.info("%s", to_markdown(rows[-1:]).splitlines()[-1])
        (out_dir / "quality.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return rows


def to_markdown(rows: list[dict]) -> str:
    """Return the table."""
    lines = [
        "| data | test examples | accuracy | macro F1 | frozen encoder + logistic regression | minutes a training "
        "| peak memory | same seed, same weights |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        equal = {None: "not tried", True: "equal", False: "DIFFERENT"}[row["repeats_equal"]]
        lines.append(
            f"| {row['name']} | {row['num_examples']:,} | {_score(row['accuracy'])} | {_score(row['macro_f1'])} "
            f"| {row['frozen']:.3f} | {row['seconds'] / 60:.1f} | {row['peak_memory_bytes'] / 2**30:.1f} GiB "
            f"| {equal} |"
        )
    return "\n".join(lines)


def _row(entry: DataSet, data_dir: Path, out_dir: Path, repeat: bool) -> dict:
    reports, frozen, equal, seconds = [], [], [], []
    slug = "".join(c if c.isalnum() else "_" for c in entry.name)
    for draw in range(entry.num_draws):
        data = data_dir / entry.path
        if entry.prepare:
            data = out_dir / "data" / f"{slug}-{draw}"
            data.mkdir(parents=True, exist_ok=True)
            entry.prepare(data_dir / entry.path, data, draw)
        for seed in range(entry.num_seeds):
            run_dir = out_dir / f"{slug}-{draw}-{seed}"
            reports.append(_train(entry, data, run_dir, seed))
            seconds.append(json.loads((run_dir / "wall.json").read_text(encoding="utf-8"))["seconds"])
            if repeat:
                again = out_dir / f"{slug}-{draw}-{seed}-again"
                _train(entry, data, again, seed)
                equal.append(_sha256(run_dir / "best.safetensors") == _sha256(again / "best.safetensors"))
        settings = parse_assignments(f"{path}={value}" for path, value in entry.settings.items())
        frozen.append(frozen_accuracy(override(Config(), settings | {"data.path": str(data)})))
    return {
        "name": entry.name,
        "num_examples": reports[0]["test"]["num_examples"],
        "accuracy": _summary(reports, "accuracy"),
        "macro_f1": _summary(reports, "macro_f1"),
        "frozen": statistics.mean(frozen),
        "seconds": statistics.median(seconds),
        "peak_memory_bytes": max(report["peak_memory_bytes"] for report in reports),
        "repeats_equal": all(equal) if equal else None,
    }


def _train(entry: DataSet, data: Path, run_dir: Path, seed: int) -> dict:
    report = run_dir / "report.json"
    if not report.exists():
        command = [sys.executable, str(_TRAIN), "--data", str(data), "--out", str(run_dir), "--no-export"]
        command += ["--seed", str(seed)]
        for path, value in entry.settings.items():
            command += ["--set", f"{path}={value}"]
        logger.info("%s", " ".join(command[1:]))
        started = time.monotonic()
        subprocess.run(command, check=True)
        (run_dir / "wall.json").write_text(json.dumps({"seconds": time.monotonic() - started}), encoding="utf-8")
    return json.loads(report.read_text(encoding="utf-8"))


def _summary(reports: list[dict], metric: str) -> dict:
    scores = [report["test"]["metrics"][metric] for report in reports]
    values = [score["value"] for score in scores]
    if len(values) == 1:
        return {"values": values, "mean": values[0], "std": None, "low": scores[0]["low"], "high": scores[0]["high"]}
    return {"values": values, "mean": statistics.mean(values), "std": statistics.stdev(values)}


def _score(summary: dict) -> str:
    if summary["std"] is None:
        return f"{summary['mean']:.3f} ({summary['low']:.3f} to {summary['high']:.3f})"
    return f"{summary['mean']:.3f} ± {summary['std']:.3f} ({len(summary['values'])} trainings)"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
