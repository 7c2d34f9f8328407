"""Latency and throughput of one model inside one process, tokenization included, next to onnxruntime and PyTorch.

Every system is a process of its own. They take turns in short blocks, so that other work on the machine slows all of
them, and their predictions are compared.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.options import Options
from benchmarks.processes import Worker, peers_python, worker_command
from benchmarks.served_model import SHORT, ServedModel, export, texts_of
from benchmarks.tables import Row, Table, median, peak_gib, speedup

OURS = "tfbert: SavedModel, TensorFlow"
PEERS = {
    "onnx": "Rust tokenizer + onnxruntime, float32",
    "onnx-int8": "Rust tokenizer + onnxruntime, int8",
    "torch": "Rust tokenizer + PyTorch, float32",
    "torch-bfloat16": "Rust tokenizer + PyTorch, bfloat16 autocast",
}
_FLOAT32 = (PEERS["onnx"], PEERS["torch"])
# Float32 products are summed in another order; a larger difference means another model.
_MAX_FLOAT32_DIFFERENCE = 1e-4
COLUMNS = (
    ("one text, p50 ms (range)", median("p50_ms", ",.1f", with_range=True)),
    ("p99 ms", median("p99_ms", ".1f")),
    ("texts per second, 32 at once (range)", median("texts_per_second", ",.0f", with_range=True)),
    ("core ms per text, one", median("single_core_ms", ".1f")),
    ("core ms per text, 32", median("batch_core_ms", ".1f")),
    ("tfbert's float32 is, one", speedup("p50_ms", "lower")),
    ("tfbert's float32 is, 32", speedup("texts_per_second", "higher")),
    ("equal labels", median("equal_labels_fraction", ".3f")),
    ("largest difference", median("max_difference", ".1e")),
    ("accuracy", median("accuracy", ".3f")),
    ("peak memory", peak_gib),
)


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Args:
        num_blocks: of every system and data set.
        num_single: texts of a block, one by one.
        num_batches: of a block.
        batch_size: texts of a batch.
    """

    num_blocks: int = 5
    num_single: int = 100
    num_batches: int = 5
    batch_size: int = 32


def measure(options: Options, plan: Plan | None = None) -> Table:
    """Time every system on every data set.

    Raises:
        ValueError: data or run are missing, or the run does not suit the data or the other libraries.
        RuntimeError: another library's float32 differs from ours, so that it is not the same model.
    """
    data = texts_of(options)
    served = export(options, sorted(set(data[SHORT][1])))
    plan, rows = plan or Plan(num_blocks=options.repeats or Plan.num_blocks), []
    texts = {name: texts for name, (texts, _) in data.items()}
    with ExitStack() as opened:
        commands = _commands(served, options.out_dir, texts)
        workers = {system: opened.enter_context(Worker(command)) for system, command in commands.items()}
        for name, (_, labels) in data.items():
            gold = np.array([served.labels.index(label) for label in labels]) if name == SHORT else None
            rows += _rows(workers, name, len(labels), gold, plan)
    check_same_model(rows)
    return Table(columns=COLUMNS, rows=rows, workload="texts")


def check_same_model(rows: Sequence[Row]) -> None:
    """Raise a `RuntimeError` if another library's float32 differs from ours by more than rounding."""
    for row in rows:
        difference = row.values["max_difference"][0]
        if row.system in _FLOAT32 and difference > _MAX_FLOAT32_DIFFERENCE:
            raise RuntimeError(f"{row.system}: differs by {difference:.1e} on {row.workload}, so it is another model")


def _commands(served: ServedModel, out_dir: Path, texts: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the command of every system's worker."""
    ours = {
        OURS: ("saved_model", served.model_dir),
        "tfbert: SavedModel, matrices in bfloat16": ("saved_model", served.bfloat16_dir),
        "Rust tokenizer + tfbert's LiteRT, int8": ("litert", served.litert_dir),
    }
    shared = {"num_threads": os.cpu_count() or 1, "texts": texts}
    commands = {}

    def add(system: str, module: str, kind: str, model: Path, python: Path | None = None) -> None:
        job = shared | {"kind": kind, "model": str(model)}
        commands[system] = worker_command(module, job, out_dir / f"{len(commands)}.json", python)

    for system, (kind, model) in ours.items():
        if model is not None:
            add(system, "our_models", kind, model)
    python = peers_python()
    if python is not None:
        has_bfloat16 = served.write_onnx(python)
        for kind, system in PEERS.items():
            # Without instructions for it PyTorch computes bfloat16 element by element.
            if kind != "torch-bfloat16" or has_bfloat16:
                add(system, "peer_models", kind, served.peer_dir, python)
    return commands


def _rows(
    workers: Mapping[str, Worker], name: str, num_texts: int, gold: np.ndarray | None, plan: Plan
) -> Iterator[Row]:
    """Yield the row of every system on one data set."""
    whole = {"name": name, "start": 0, "num_calls": -(-num_texts // plan.batch_size), "batch_size": plan.batch_size}
    # The last batch begins again with the first texts. After this the processes are warm.
    outputs = {system: worker(**whole, with_outputs=True) for system, worker in workers.items()}
    labels = {system: np.array(output["label_id"][:num_texts]) for system, output in outputs.items()}
    probabilities = {system: np.array(output["probabilities"][:num_texts]) for system, output in outputs.items()}
    blocks: dict[str, list[dict[str, Any]]] = {system: [] for system in workers}
    for block in range(plan.num_blocks):
        for system, worker in workers.items():
            blocks[system].append(_block(worker, name, block, plan))
    for system, measured in blocks.items():
        values = {key: [each[key] for each in measured] for key in measured[0] if key != "all_ms"}
        values["p99_ms"] = [float(np.percentile([ms for each in measured for ms in each["all_ms"]], 99))]
        values["equal_labels_fraction"] = [float(np.mean(labels[system] == labels[OURS]))]
        values["max_difference"] = [float(np.abs(probabilities[system] - probabilities[OURS]).max())]
        values["accuracy"] = [] if gold is None else [float(np.mean(labels[system] == gold))]
        yield Row(workload=name, system=system, values=values)


def _block(worker: Worker, name: str, block: int, plan: Plan) -> dict[str, Any]:
    """Return what one block took: texts one by one, then batches."""
    num_single, num_batched = plan.num_single, plan.num_batches * plan.batch_size
    one = worker(name=name, start=block * num_single, num_calls=num_single, batch_size=1)
    start = block * num_batched
    many = worker(name=name, start=start, num_calls=plan.num_batches, batch_size=plan.batch_size)
    milliseconds = [1000 * seconds for seconds in one["seconds"]]
    return {
        "all_ms": milliseconds,
        "p50_ms": float(np.median(milliseconds)),
        "single_core_ms": 1000 * one["busy_seconds"] / num_single,
        "texts_per_second": num_batched / sum(many["seconds"]),
        "batch_core_ms": 1000 * many["busy_seconds"] / num_batched,
        "peak_memory_bytes": many["peak_memory_bytes"],
    }
