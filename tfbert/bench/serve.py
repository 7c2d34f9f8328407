"""One model in, a table of how fast it answers texts inside one process out, next to its peers; tokenization included.

Every way is a process of its own. They are asked in turn, in short blocks, so that what else the machine does falls on
all; and each is asked for the answers themselves, which are compared.
"""

import logging
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfbert.bench.peers import peers_python
from tfbert.bench.picture import Speed
from tfbert.bench.processes import WORKERS, Worker
from tfbert.bench.served import SHORT, Served, draw_records, make_served
from tfbert.bench.wording import median_range, median_ratio
from tfbert.files import read_json, write_json
from tfbert.text.records import Record

logger = logging.getLogger(__name__)

OURS, _OURS_BFLOAT16, _LITERT, _BFLOAT16 = "tfbert", "tfbert-bfloat16", "tfbert-litert", "torch-bfloat16"
WAYS = {
    OURS: "tfbert: SavedModel, TensorFlow",
    _OURS_BFLOAT16: "tfbert: SavedModel, matrices in bfloat16",
    _LITERT: "Rust tokenizer + tfbert's LiteRT, int8",
    "onnx": "Rust tokenizer + onnxruntime, float32",
    "onnx-int8": "Rust tokenizer + onnxruntime, int8",
    "torch": "Rust tokenizer + PyTorch, float32",
    _BFLOAT16: "Rust tokenizer + PyTorch, bfloat16 autocast",
}
# Float32 computes the same in another order.
_SAME = 1e-4
_FLOAT32 = ("onnx", "torch")


@dataclass(frozen=True)
class Plan:
    """How much is asked.

    Args:
        num_blocks: of every way, size and data set.
        num_single: texts of a block, one by one.
        num_batches: of a block.
        batch_size: texts of a batch.
    """

    num_blocks: int = 5
    num_single: int = 100
    num_batches: int = 5
    batch_size: int = 32


def measure(data_dir: Path, out_dir: Path, run_dir: Path | None = None, plan: Plan | None = None) -> list[dict]:
    """Time every way on every data set.

    Args:
        data_dir: holds the data sets in folders of their own.
        out_dir: for `served/`, which has the model, and `serve/serve.json`.
        run_dir: of the classification that is asked; `None` trains one.
        plan: how much is asked; `None` takes the usual.

    Returns:
        A dict a data set and way: `data`, `way` (a key of `WAYS`), `num_texts` compared; of each block `p50`,
        milliseconds of texts one by one, `texts_per_second` in batches, and `busy_single` and `busy_batches`,
        milliseconds of one core a text, which other work on the machine hardly changes; `p99` of all single texts;
        `equal_labels_fraction` and `max_difference` of probabilities, both to ours; `accuracy`, `None` where the model
        has other labels; `peak_memory_bytes` so far.

    Raises:
        ValueError: the data or the run is not there, or the run is none that the peers can build.
        RuntimeError: float32 of a peer differs from ours, so that it is not the same model.
    """
    records = draw_records(data_dir)
    served = make_served(data_dir, out_dir / "served", run_dir)
    plan, out_dir = plan or Plan(), out_dir / "serve"
    texts = {name: [record.text for record in found] for name, found in records.items()}
    rows = []
    with ExitStack() as opened:
        workers = {
            way: opened.enter_context(Worker(command)) for way, command in _commands(served, out_dir, texts).items()
        }
        for name, found in records.items():
            answers = {way: _answers(worker, name, len(found), plan.batch_size) for way, worker in workers.items()}
            blocks = _blocks(workers, name, plan)
            for way in workers:
                row = {"data": name, "way": way, "num_texts": len(found)} | blocks[way]
                rows.append(row | _compared(answers[way], answers[OURS], _gold(found, name, served)))
    _check(rows)
    write_json(out_dir / "serve.json", {"rows": rows, "num_threads": _num_threads()})
    return rows


def to_markdown(rows: list[dict]) -> str:
    """Return the table: medians with ranges, and the median over blocks of ours divided by theirs."""
    lines = [
        "| texts | answered by | one text, p50 ms (range) | p99 ms | texts a second, 32 at once (range) "
        "| core ms a text, one / 32 | tfbert's float32 is, one / 32 | equal labels | largest difference | accuracy "
        "| peak memory |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours = next(other for other in rows if (other["data"], other["way"]) == (row["data"], OURS))
        ratio, equal, difference = "", "", ""
        if row is not ours:
            one, many = (
                median_ratio(row["p50"], ours["p50"]),
                median_ratio(ours["texts_per_second"], row["texts_per_second"]),
            )
            ratio = f"{one:.2f} / {many:.2f} times as fast"
            equal, difference = f"{row['equal_labels_fraction']:.3f}", f"{row['max_difference']:.1e}"
        accuracy = "" if row["accuracy"] is None else f"{row['accuracy']:.3f}"
        busy = [f"{statistics.median(row[name]):.1f}" for name in ("busy_single", "busy_batches")]
        cells = [row["data"], WAYS[row["way"]], median_range(row["p50"], ".1f"), f"{row['p99']:.1f}"]
        cells += [median_range(row["texts_per_second"], ",.0f"), " / ".join(busy), ratio, equal, difference, accuracy]
        lines.append(f"| {' | '.join(cells)} | {row['peak_memory_bytes'] / 2**30:.1f} GiB |")
    return "\n".join(lines)


def speeds(rows: list[dict]) -> list[Speed]:
    """Return what is drawn of the table: texts a second, one at a time and in batches."""
    single = [
        Speed(
            f"{row['data']}, one at a time",
            WAYS[row["way"]],
            [1000 / p50 for p50 in row["p50"]],
            row["way"].startswith(OURS),
        )
        for row in rows
    ]
    batches = [
        Speed(f"{row['data']}, 32 at once", WAYS[row["way"]], row["texts_per_second"], row["way"].startswith(OURS))
        for row in rows
    ]
    return [*single, *batches]


def write_onnx(python: Path, served: Served) -> dict:
    """Let the peers' Python write the model's ONNX files, and return what it says of itself and of the processor."""
    command = [str(python), str(WORKERS / "peer_models.py"), str(served.peer_dir)]
    logger.info("%s", " ".join(command))
    subprocess.run(command, check=True)
    return read_json(served.peer_dir / "about.json")


def _num_threads() -> int:
    return os.cpu_count() or 1


def _commands(served: Served, out_dir: Path, texts: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the command of every way's worker, with its job written."""
    models = {OURS: served.version_dir}
    if served.bfloat16_dir is not None:
        models[_OURS_BFLOAT16] = served.bfloat16_dir
    commands = {way: [sys.executable, str(WORKERS / "saved_model.py")] for way in models}
    if served.litert_dir is not None:
        commands[_LITERT] = [sys.executable, str(WORKERS / "litert_model.py")]
        models[_LITERT] = served.litert_dir
    python = peers_python()
    if python is not None:
        has_bfloat16 = write_onnx(python, served)["has_bfloat16"]
        if not has_bfloat16:
            # There PyTorch computes it element by element.
            logger.info("%s is left out: the processor has no bfloat16", WAYS[_BFLOAT16])
        ours = (OURS, _OURS_BFLOAT16, _LITERT)
        ways = [way for way in WAYS if way not in ours and (way != _BFLOAT16 or has_bfloat16)]
        commands |= {way: [str(python), str(WORKERS / "peer_answers.py")] for way in ways}
    for way, command in commands.items():
        model = models.get(way, served.peer_dir)
        path = out_dir / f"{way}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"way": way, "model": str(model), "num_threads": _num_threads(), "texts": texts})
        command.append(str(path))
    return commands


def _answers(worker: Worker, name: str, num_texts: int, batch_size: int) -> dict[str, np.ndarray]:
    """Return `label_id` and `probabilities` of all texts; the process is warm after that."""
    job = {"name": name, "start": 0, "num_calls": -(-num_texts // batch_size), "batch_size": batch_size}
    found = worker(**job, with_answers=True)
    # The last batch begins anew.
    return {key: np.array(found[key][:num_texts]) for key in ("label_id", "probabilities")}


def _blocks(workers: Mapping[str, Worker], name: str, plan: Plan) -> dict[str, dict]:
    """Return of every way what its blocks took; in each block all ways are asked the same."""
    keys = ("p50", "texts_per_second", "busy_single", "busy_batches")
    found = {way: {key: [] for key in keys} for way in workers}
    milliseconds: dict[str, list[float]] = {way: [] for way in workers}
    for block in range(plan.num_blocks):
        single = {"start": block * plan.num_single, "num_calls": plan.num_single, "batch_size": 1}
        size = plan.batch_size
        batches = {"start": block * plan.num_batches * size, "num_calls": plan.num_batches, "batch_size": size}
        for way, worker in workers.items():
            said = worker(name=name, **single)
            one_by_one = [1000 * seconds for seconds in said["seconds"]]
            milliseconds[way] += one_by_one
            found[way]["p50"].append(statistics.median(one_by_one))
            found[way]["busy_single"].append(1000 * said["busy_seconds"] / plan.num_single)
            said = worker(name=name, **batches)
            found[way]["busy_batches"].append(1000 * said["busy_seconds"] / (plan.num_batches * size))
            found[way]["texts_per_second"].append(plan.num_batches * size / sum(said["seconds"]))
            found[way]["peak_memory_bytes"] = said["peak_memory_bytes"]
        logger.info("%s, block %d of %d", name, block + 1, plan.num_blocks)
    return {way: found[way] | {"p99": float(np.percentile(milliseconds[way], 99))} for way in workers}


def _gold(records: Sequence[Record], name: str, served: Served) -> np.ndarray | None:
    """Return the label ids of the short texts; the model does not know the labels of others."""
    return np.array([served.labels.index(record.target) for record in records]) if name == SHORT else None


def _compared(theirs: dict[str, np.ndarray], ours: dict[str, np.ndarray], gold: np.ndarray | None) -> dict:
    return {
        "equal_labels_fraction": float(np.mean(theirs["label_id"] == ours["label_id"])),
        "max_difference": float(np.abs(theirs["probabilities"] - ours["probabilities"]).max()),
        "accuracy": None if gold is None else float(np.mean(theirs["label_id"] == gold)),
    }


def _check(rows: Sequence[dict]) -> None:
    for row in rows:
        if row["way"] in _FLOAT32 and row["max_difference"] > _SAME:
            raise RuntimeError(f"{row['way']} differs by {row['max_difference']:.1e} on {row['data']}: another model")
