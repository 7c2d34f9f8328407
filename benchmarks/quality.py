"""Test scores of tfbert on public data sets next to those of a peer.

Every training is `tools/train.py` in a process of its own with the default settings, and every number comes from the
`report.json` it writes. A run that exists is not repeated, so a stopped benchmark continues where it was.
"""

import hashlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import internals, transformers_peer
from benchmarks.datasets import BY_NAME, DATA_SETS, DataSet
from benchmarks.options import Options
from benchmarks.processes import ROOT, peers_python, run, tool_command
from benchmarks.tables import Row, Table, mean, median, peak_gib
from tfbert.files import REPORT, read_json

logger = logging.getLogger(__name__)

_WALL_SECONDS = "wall_seconds.txt"
PEERS = {"frozen": "frozen encoder + logistic regression", "untrained": "same index, encoder untrained"}
COLUMNS = (
    ("score", mean),
    ("test examples", median("num_examples", ",.0f")),
    ("seconds per training", median("seconds", ",.0f")),
    ("peak memory", peak_gib),
    ("same seed, same weights", lambda row, _: _repeatability(row)),
)


def measure(options: Options) -> Table:
    """Train and score every data set that exists.

    Raises:
        ValueError: a name of `--only` is unknown or its data is missing.
    """
    options.check_only(BY_NAME)
    rows = []
    for data_set in DATA_SETS:
        if options.only and data_set.name not in options.only:
            continue
        if not options.only and not (options.data_dir / data_set.path).exists():
            logger.info("%s: left out, no %s", data_set.name, options.data_dir / data_set.path)
            continue
        options.existing(data_set.path, f"the data of '{data_set.name}'")
        rows += _rows(data_set, options)
        Table(columns=COLUMNS, rows=rows).write(options.out_dir / "quality.json")
    return Table(columns=COLUMNS, rows=rows)


def _rows(data_set: DataSet, options: Options) -> Iterator[Row]:
    """Yield our row and the peer's for each metric."""
    num_seeds = min(data_set.num_seeds, options.repeats or data_set.num_seeds)
    reports, seconds, equal, peer_scores = [], [], [], []
    for draw in range(data_set.num_draws):
        data = data_set.prepared(options.data_dir, options.out_dir, draw)
        for seed in range(num_seeds):
            run_dir = options.out_dir / f"{data_set.slug}-{draw}-{seed}"
            reports.append(train_once(data_set, data, run_dir, seed))
            seconds.append(float((run_dir / _WALL_SECONDS).read_text(encoding="utf-8")))
            if options.check_repeatability:
                again = run_dir.with_name(f"{run_dir.name}-again")
                train_once(data_set, data, again, seed)
                equal.append(float(_weights_hash(run_dir) == _weights_hash(again)))
            # A peer that is not trained scores the same with every seed.
            if seed == 0 or data_set.peer not in PEERS:
                peer_scores += _peer_scores(data_set, run_dir)
    costs = {
        "num_examples": [reports[0]["test"]["num_examples"]],
        "seconds": seconds,
        "peak_memory_bytes": [report["peak_memory_bytes"] for report in reports],
        "repeatable": equal,
    }
    for name in data_set.metrics:
        scores = [report["test"]["metrics"][name] for report in reports]
        interval = [scores[0][end] for end in ("low", "high") if scores[0].get(end) is not None]
        ours = costs | {"score": [score["value"] for score in scores], "interval": interval}
        yield Row(workload=data_set.name, system="tfbert", metric=name, values=ours)
        theirs = {"score": [scores[name] for scores in peer_scores if name in scores]}
        theirs["seconds"] = [scores["seconds"] for scores in peer_scores if "seconds" in scores]
        if theirs["score"]:
            system = PEERS.get(data_set.peer, "transformers")
            yield Row(workload=data_set.name, system=system, metric=name, values=theirs)


def train_once(data_set: DataSet, data: Path | None, run_dir: Path, seed: int, checkout: Path = ROOT) -> dict:
    """Train on a data set unless that has been done, and return the report.

    Args:
        data_set: gives task and settings.
        data: path for `--data`; `None` trains on the samples.
        run_dir: absolute path of the run.
        seed: of the run.
        checkout: the version of tfbert that trains.
    """
    report = run_dir / REPORT
    if not report.exists():
        arguments = ["--task", data_set.task, "--out", str(run_dir), "--no-export"]
        arguments += [] if data is None else ["--data", str(data)]
        started = time.monotonic()
        command = tool_command("train", [*arguments, "--seed", str(seed)], data_set.settings, checkout)
        run(command, {"PYTHONPATH": str(checkout)})
        (run_dir / _WALL_SECONDS).write_text(str(time.monotonic() - started), encoding="utf-8")
    return read_json(report)


def _peer_scores(data_set: DataSet, run_dir: Path) -> list[dict[str, float]]:
    """Return the scores of the peer, or nothing if there is none or its environment is missing."""
    if data_set.peer == "frozen":
        return [{"accuracy": internals.frozen_accuracy(run_dir)}]
    if data_set.peer == "untrained":
        return [internals.untrained_scores(run_dir)]
    if not data_set.peer or peers_python() is None:
        return []
    num_epochs = len(read_json(run_dir / REPORT)["history"])
    done = transformers_peer.finetune(data_set.peer, run_dir, run_dir / "peer", num_epochs)
    return [done.scores | {"seconds": done.summary["seconds"]}]


def _weights_hash(run_dir: Path) -> str:
    return hashlib.sha256((run_dir / "best.safetensors").read_bytes()).hexdigest()


def _repeatability(row: Row) -> str:
    values = row.values.get("repeatable", ())
    return ("equal" if all(values) else "DIFFERENT") if values else ""
