"""A file of texts in, a table of how fast whole commands answer all of it out, next to transformers' pipeline.

Each way is the command that a user would run: libraries, loading, tokenization, answers as JSON lines in a file.
"""

import json
import logging
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tfbert.bench.commands import TOOLS
from tfbert.bench.peers import peers_python
from tfbert.bench.picture import Speed
from tfbert.bench.processes import WORKERS
from tfbert.bench.serve import write_onnx
from tfbert.bench.served import SHORT, Served, make_served
from tfbert.bench.wording import median_range, median_ratio
from tfbert.config import DataConfig
from tfbert.files import write_json
from tfbert.text.splits import load_splits

logger = logging.getLogger(__name__)

OURS, _OURS_BFLOAT16, _BFLOAT16 = "tfbert", "tfbert-bfloat16", "pipeline-bfloat16"
WAYS = {
    OURS: "tools/predict.py",
    _OURS_BFLOAT16: "tools/predict.py, matrices in bfloat16",
    "pipeline": "transformers pipeline, float32",
    _BFLOAT16: "transformers pipeline, bfloat16",
}
_BATCH_SIZE = 64


def measure(
    data_dir: Path, out_dir: Path, run_dir: Path | None = None, num_lines: int = 100_000, num_repeats: int = 3
) -> list[dict]:
    """Let every way answer the same file, in turn.

    Args:
        data_dir: holds the data sets in folders of their own.
        out_dir: for `served/`, which has the model, and `predict/`.
        run_dir: of the classification that is asked; `None` trains one.
        num_lines: of the file; texts come again where there are fewer.
        num_repeats: of every way.

    Returns:
        A dict a way: `way` (a key of `WAYS`), `num_lines`; of each repeat `seconds` of the whole command and
        `busy_seconds` of a core; `equal_labels_fraction` to ours in float32.

    Raises:
        ValueError: the data or the run is not there, or the run is none that the peers can build.
        subprocess.CalledProcessError: a command failed.
    """
    served = make_served(data_dir, out_dir / "served", run_dir)
    out_dir = out_dir / "predict"
    out_dir.mkdir(parents=True, exist_ok=True)
    texts = out_dir / "texts.txt"
    _write_texts(data_dir / SHORT, texts, num_lines)
    commands = _commands(served, texts, out_dir)
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in commands}
    for _ in range(num_repeats):
        for way, command in commands.items():
            found[way].append(_timed(command, out_dir / f"{way}.jsonl"))
    labels = {way: _labels(out_dir / f"{way}.jsonl") for way in commands}
    rows = [
        {
            "way": way,
            "num_lines": num_lines,
            "seconds": [seconds for seconds, _ in timings],
            "busy_seconds": [busy for _, busy in timings],
            "equal_labels_fraction": _share_equal(labels[way], labels[OURS]),
        }
        for way, timings in found.items()
    ]
    write_json(out_dir / "predict.json", {"rows": rows})
    return rows


def to_markdown(rows: list[dict]) -> str:
    """Return the table: medians with ranges, and the median over repeats of theirs divided by ours in float32."""
    lines = [
        "| a file of texts answered by | lines | seconds (range) | lines a second | core ms a line "
        "| tfbert's float32 is | equal labels |",
        "|---|---|---|---|---|---|---|",
    ]
    ours = rows[0]
    for row in rows:
        seconds, number = row["seconds"], row["num_lines"]
        median = statistics.median(seconds)
        ratio, equal = "", ""
        if row is not ours:
            ratio = f"{median_ratio(seconds, ours['seconds']):.2f} times as fast"
            equal = f"{row['equal_labels_fraction']:.4f}"
        cells = [WAYS[row["way"]], f"{number:,}", median_range(seconds, ",.1f")]
        cells += [f"{number / median:,.0f}", f"{1000 * statistics.median(row['busy_seconds']) / number:.2f}"]
        lines.append(f"| {' | '.join([*cells, ratio, equal])} |")
    return "\n".join(lines)


def speeds(rows: list[dict]) -> list[Speed]:
    """Return what is drawn of the table: lines a second."""
    return [
        Speed(
            f"{row['num_lines']:,} lines",
            WAYS[row["way"]],
            [row["num_lines"] / seconds for seconds in row["seconds"]],
            row["way"].startswith(OURS),
        )
        for row in rows
    ]


def _write_texts(data: Path, target: Path, number: int) -> None:
    """Write texts of all splits, a line each, in a random order that is always the same."""
    known = [" ".join(record.text.split()) for split in load_splits(DataConfig(), data).values() for record in split]
    random.Random(0).shuffle(known)
    with open(target, "w", encoding="utf-8") as stream:
        stream.writelines(known[index % len(known)] + "\n" for index in range(number))


def _commands(served: Served, texts: Path, out_dir: Path) -> dict[str, list[str]]:
    options = ["--file", str(texts), "--batch-size", str(_BATCH_SIZE)]
    models = {OURS: served.model_dir, _OURS_BFLOAT16: served.bfloat16_dir}
    predict = [sys.executable, str(TOOLS / "predict.py")]
    commands = {way: [*predict, str(model), *options] for way, model in models.items() if model is not None}
    python = peers_python()
    if python is None:
        return commands
    has_bfloat16 = write_onnx(python, served)["has_bfloat16"]
    for way in WAYS:
        if way in models or (way == _BFLOAT16 and not has_bfloat16):
            continue
        job = {"model": str(served.peer_dir), "texts": str(texts), "batch_size": _BATCH_SIZE}
        path = out_dir / f"{way}.json"
        write_json(path, job | {"num_threads": os.cpu_count() or 1, "is_bfloat16": way == _BFLOAT16})
        commands[way] = [str(python), str(WORKERS / "peer_pipeline.py"), str(path)]
    return commands


def _timed(command: Sequence[str], out: Path) -> tuple[float, float]:
    """Return the seconds that a command took, and those of a core that it used; what it prints goes to a file."""
    logger.info("%s > %s", " ".join(command), out)
    started = time.monotonic()
    with open(out, "wb") as stream:
        process = subprocess.Popen(command, stdout=stream)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, usage.ru_utime + usage.ru_stime


def _labels(path: Path) -> list[str]:
    with open(path, encoding="utf-8") as stream:
        return [json.loads(line)["label"] for line in stream]


def _share_equal(labels: list[str], ours: list[str]) -> float:
    return sum(one == other for one, other in zip(labels, ours, strict=True)) / len(ours)
