"""Data sets in, a table of how fast one epoch of fine-tuning is out, next to PyTorch transformers and KerasNLP's `fit`.

Every training is a process of its own, the ways in turn. Tokenization counts, reading files and importing libraries do
not: they are in the time to the first update, which begins with the command.
"""

import logging
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tfbert.bench import peers
from tfbert.bench.commands import run_tool
from tfbert.bench.datasets import DATA_SETS, DataSet, check_names
from tfbert.bench.picture import Speed
from tfbert.bench.processes import WORKERS
from tfbert.bench.wording import median_range, median_ratio
from tfbert.encoder.backbone import load_encoder, save_encoder
from tfbert.encoder.presets import resolve
from tfbert.files import read_json, write_json
from tfbert.training.run_dir import REPORT

logger = logging.getLogger(__name__)

OURS, _TRANSFORMERS, _KERASNLP = "tfbert", "transformers", "kerasnlp"
# What a classification of texts and one of words are called by `transformers_peer.py`.
_KINDS = {"banking77": "sequence", "bbc_news": "sequence", "wnut17": "tokens"}
_ENCODER = "minilm"
# KerasNLP pads every text to 512 tokens unless told otherwise: a whole epoch would take an hour.
_KERASNLP_BATCHES, _KERASNLP_WARM_BATCHES = 24, 4
_SUMMARY = "summary.json"


@dataclass(frozen=True)
class Way:
    """One way to train.

    Args:
        name: for a reader.
        by: `OURS`, `_TRANSFORMERS` or `_KERASNLP`.
        options: of the peer's job.
        once: whether it is done in the first repeat alone; what transformers does best is repeated as often as ours.
    """

    name: str
    by: str
    options: Mapping[str, Any] = field(default_factory=dict)
    once: bool = False


WAYS = {
    "tfbert": Way("tfbert", OURS),
    "transformers": Way("transformers, float32", _TRANSFORMERS, once=True),
    "transformers-bfloat16": Way("transformers, bfloat16 autocast", _TRANSFORMERS, {"bf16": True}),
    "kerasnlp": Way("KerasNLP `fit`, defaults", _KERASNLP, once=True),
    "kerasnlp-length": Way("KerasNLP `fit`, length set", _KERASNLP, {"with_length": True}, once=True),
    "kerasnlp-bfloat16": Way(
        "KerasNLP `fit`, length set, mixed_bfloat16 without XLA",
        _KERASNLP,
        {"with_length": True, "dtype": "mixed_bfloat16", "jit_compile": False},
        once=True,
    ),
}


def measure(data_dir: Path, out_dir: Path, names: Sequence[str] = (), num_repeats: int = 3) -> list[dict]:
    """Train one epoch of every data set in every way.

    Args:
        data_dir: holds the data sets in folders of their own.
        out_dir: for runs and `train.json`; what is there already is not repeated.
        names: of the data sets wanted; empty means all.
        num_repeats: of every way that is not done once only, each with a seed of its own.

    Returns:
        A dict a data set and way: `data`, `way` (a key of `WAYS`), `num_examples` of an epoch, `metric`; of each repeat
        `examples_per_second`, `seconds_to_first_update` and `score` on the test split (`None` where it did not learn
        a whole epoch); `peak_memory_bytes`, the highest.

    Raises:
        ValueError: an unknown name, or a data set that is not there.
    """
    check_names(names, list(_KINDS))
    entries = [entry for entry in DATA_SETS if entry.name in (names or _KINDS)]
    for entry in entries:
        if not (data_dir / entry.path).exists():
            raise ValueError(f"{data_dir / entry.path}: is not there; wanted the data of '{entry.name}'")
    has_peers, rows = peers.peers_python() is not None, []
    for entry in entries:
        entry = replace(entry, settings=dict(entry.settings) | {"train.epochs": "1", "encoder.name": _ENCODER})
        ways = [key for key, way in WAYS.items() if _is_there(way, entry, has_peers)]
        found: dict[str, list[dict]] = {way: [] for way in ways}
        for repeat in range(num_repeats):
            run_dir = out_dir / f"{entry.slug}-{repeat}"
            for way in [way for way in ways if repeat == 0 or not WAYS[way].once]:
                found[way].append(_summary(entry, WAYS[way], data_dir, run_dir, way, repeat))
        for way, summaries in found.items():
            rows.append(_row(entry, way, found[OURS][0]["num_examples"], summaries))
        write_json(out_dir / "train.json", {"rows": rows})
    return rows


def to_markdown(rows: list[dict]) -> str:
    """Return the table: medians with ranges, and the median over repeats of ours divided by theirs."""
    lines = [
        "| data | trained by | examples a second (range) | tfbert is | seconds to the first update | peak memory "
        "| metric | test score after one epoch |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours = next(other for other in rows if (other["data"], other["way"]) == (row["data"], OURS))
        speeds = row["examples_per_second"]
        ratio = ""
        if row is not ours:
            beside = ours["examples_per_second"][: len(speeds)]
            ratio = f"{median_ratio(beside, speeds):.2f} times as fast"
        spread = median_range(speeds, ",.1f")
        waiting = f"{statistics.median(row['seconds_to_first_update']):.1f}"
        scores = [value for value in row["score"] if value is not None]
        score = f"{statistics.mean(scores):.3f}" if scores else "not a whole epoch"
        memory = f"{row['peak_memory_bytes'] / 2**30:.1f} GiB"
        cells = [row["data"], WAYS[row["way"]].name, spread, ratio, waiting, memory, row["metric"], score]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def speeds(rows: list[dict]) -> list[Speed]:
    """Return what is drawn of the table: examples a second."""
    return [Speed(row["data"], WAYS[row["way"]].name, row["examples_per_second"], row["way"] == OURS) for row in rows]


def _is_there(way: Way, entry: DataSet, has_peers: bool) -> bool:
    if way.by == _KERASNLP:
        return _KINDS[entry.name] == "sequence"  # it has nothing for words
    return way.by == OURS or has_peers


def _row(entry: DataSet, way: str, num_examples: int, summaries: list[dict]) -> dict:
    row = {"data": entry.name, "way": way, "num_examples": num_examples, "metric": entry.metrics[0]}
    row |= {
        "examples_per_second": [summary["num_examples"] / summary["seconds"] for summary in summaries],
        "seconds_to_first_update": [summary["seconds_to_first_update"] for summary in summaries],
        "score": [summary["score"] for summary in summaries],
    }
    return row | {"peak_memory_bytes": max(summary["peak_memory_bytes"] for summary in summaries)}


def _summary(entry: DataSet, way: Way, data_dir: Path, run_dir: Path, key: str, seed: int) -> dict:
    """Return what one training took; it is done if it has not been.

    Returns:
        A dict: `num_examples` and the `seconds` in which they were tokenized and learned, `seconds_to_first_update`
        since the command, `peak_memory_bytes`, and `score`.
    """
    path = run_dir / key / _SUMMARY
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        summary = _DO[way.by](entry, way, data_dir, run_dir, key, seed)
        write_json(path, summary)
    return read_json(path)


def _do_ours(entry: DataSet, way: Way, data_dir: Path, run_dir: Path, key: str, seed: int) -> dict:
    arguments = ["--task", entry.task, "--data", str(entry.data_of(data_dir, run_dir, 0)), "--no-export"]
    arguments += ["--out", str(run_dir / OURS), "--seed", str(seed)]
    environment = {"TFBERT_CACHE": str(cache_without_tokens(run_dir))}
    started = time.time()
    run_tool("train", arguments, entry.settings, environment)
    report = read_json(run_dir / OURS / REPORT)
    seconds, splits = report["seconds"], report["data"]
    # All splits are tokenized together.
    share = splits["train"]["num_examples"] / sum(split["num_examples"] for split in splits.values())
    return {
        "num_examples": splits["train"]["num_examples"],
        "seconds": share * seconds["tokenize"] + seconds["start"] + seconds["train"],
        "seconds_to_first_update": report["first_update_at"] - started,
        "peak_memory_bytes": report["peak_memory_bytes"],
        "score": report["test"]["metrics"][entry.metrics[0]]["value"],
    }


def cache_without_tokens(run_dir: Path) -> Path:
    """Return a cache that has the encoders of the usual one, but no tokens: to make them is part of an epoch."""
    known, cache = resolve(_ENCODER).directory, run_dir / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir(parents=True)
    (cache / known.parent.name).symlink_to(known.parent)
    return cache


def _do_transformers(entry: DataSet, way: Way, data_dir: Path, run_dir: Path, key: str, seed: int) -> dict:
    found, scores = peers.transformers_epoch(_KINDS[entry.name], run_dir / OURS, run_dir / key, way.options)
    return {
        "num_examples": found["num_examples"],
        "seconds": found["tokenize_seconds"] + found["learn_seconds"],
        "seconds_to_first_update": found["seconds_to_first_update"],
        "peak_memory_bytes": found["peak_memory_bytes"],
        "score": scores[entry.metrics[0]],
    }


def _do_kerasnlp(entry: DataSet, way: Way, data_dir: Path, run_dir: Path, key: str, seed: int) -> dict:
    preset = run_dir / "preset"
    if not preset.exists():
        save_encoder(load_encoder(_ENCODER), preset)
    job = peers.job_of(run_dir / OURS, run_dir / key) | way.options
    job |= {"preset": str(preset), "num_batches": _KERASNLP_BATCHES, "num_warm_batches": _KERASNLP_WARM_BATCHES}
    job |= {"out": str(run_dir / key / "fit.json"), "started_at": time.time()}
    write_json(run_dir / key / "job.json", job)
    command = [sys.executable, str(WORKERS / "kerasnlp_fit.py"), str(run_dir / key / "job.json")]
    logger.info("%s", " ".join(command))
    subprocess.run(command, check=True)
    return read_json(Path(job["out"])) | {"score": None}


_DO = {OURS: _do_ours, _TRANSFORMERS: _do_transformers, _KERASNLP: _do_kerasnlp}
