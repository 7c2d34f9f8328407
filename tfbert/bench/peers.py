"""What a row of the quality table stands next to: the same data and encoder, done in another way, scored by us."""

import json
import logging
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfbert.bench.baseline import frozen_accuracy
from tfbert.config import Config, from_dict
from tfbert.encoder.backbone import load_encoder
from tfbert.encoder.presets import resolve
from tfbert.files import read_json, write_json
from tfbert.tasks.base import Task, load_task
from tfbert.text.splits import Split, load_splits
from tfbert.training.answering import answer_all
from tfbert.training.finished import load_run

logger = logging.getLogger(__name__)

_SCRIPT = Path(__file__).with_name("transformers_peer.py")
_PYTHON = Path(".venv-peers") / "bin" / "python"

# A finished run in, what the peer reaches on its data out: metric to value, with `seconds` if it was timed; or `None`.
Peer = Callable[[Path], dict[str, float] | None]


def frozen(run_dir: Path) -> dict[str, float] | None:
    """Return the accuracy of logistic regression on the vectors of the untouched encoder."""
    return {"accuracy": frozen_accuracy(from_dict(read_json(run_dir / "config.json")))}


def peers_python() -> Path | None:
    """Return the Python of the peers' environment, or `None`, which is logged, where there is none."""
    python = Path(os.environ.get("TFBERT_PEERS_PYTHON") or _PYTHON)
    if python.exists():
        return python
    logger.info("no %s: the peer is left out; `make peers` builds its environment", python)
    return None


def untouched(run_dir: Path) -> dict[str, float] | None:
    """Return what a run of matching reaches with the encoder as it was before: same index, search and test split."""
    finished = load_run(run_dir)
    config, answering = finished.config, finished.answering
    task = answering.task
    splits = load_splits(config.data, Path(config.data.path or task.samples_dir), task.schema)
    encoder = load_encoder(config.encoder.name)
    for source, copy in zip(encoder.backbone.weights, answering.model.backbone.weights, strict=True):
        copy.assign(source.value)
    answering.refresh(splits)
    answers, gold = answer_all(answering, task, finished.facts, splits["test"], None, "test, encoder untouched")
    return task.quick_scores(answers, gold, finished.facts)


def transformers(kind: str) -> Peer:
    """Return a peer that fine-tunes with PyTorch transformers, with the epochs, batches and rate of the run.

    Args:
        kind: of model, as `transformers_peer.py` calls it.
    """

    def peer(run_dir: Path) -> dict[str, float] | None:
        python = peers_python()
        if python is None:
            return None
        config = from_dict(read_json(run_dir / "config.json"))
        task, facts = load_task(config.task), read_json(run_dir / "model.json")["facts"]
        splits = load_splits(config.data, Path(config.data.path or task.samples_dir), task.schema)
        out_dir = run_dir / "peer"
        out_dir.mkdir(exist_ok=True)
        predictions = out_dir / "predictions.jsonl"
        if not predictions.with_suffix(".summary.json").exists():
            write_json(out_dir / "job.json", _job(kind, config, splits, len(_history(run_dir)), out_dir))
            command = [str(python), "-P", str(_SCRIPT.resolve()), str(out_dir / "job.json")]
            logger.info("%s", " ".join(command))
            subprocess.run(command, check=True)
        summary = read_json(predictions.with_suffix(".summary.json"))
        return _scores(task, facts, splits["test"], predictions) | {"seconds": summary["seconds"]}

    return peer


def answers_of(predictions: list[dict]) -> dict[str, np.ndarray]:
    """Return predictions as a served model's answers: output name to array, lists padded with 0 or ""."""
    found = {}
    for name, first in predictions[0].items():
        values = [prediction[name] for prediction in predictions]
        if isinstance(first, list):
            width = max(map(len, values))
            items = [item for value in values for item in value]
            filler = "" if items and isinstance(items[0], str) else 0
            values = [[*value, *[filler] * (width - len(value))] for value in values]
        array = np.asarray(values)
        found[name] = np.char.encode(array, "utf-8").astype(object) if array.dtype.kind == "U" else array
    return found


def _history(run_dir: Path) -> list:
    return read_json(run_dir / "report.json")["history"]


def _job(kind: str, config: Config, splits: dict[str, Split], epochs: int, out_dir: Path) -> dict:
    for name in ("train", "test"):
        with open(out_dir / f"{name}.jsonl", "w", encoding="utf-8") as stream:
            for record in splits[name]:
                stream.write(json.dumps({"texts": record.texts, "target": record.target}) + "\n")
    train, length = config.train, config.encoder.sequence_length
    return {
        "kind": kind,
        "encoder": str(resolve(config.encoder.name).directory),
        "train": str(out_dir / "train.jsonl"),
        "test": str(out_dir / "test.jsonl"),
        "out": str(out_dir / "predictions.jsonl"),
        "seed": train.seed,
        "epochs": epochs,
        "batch_size": train.batch_size * train.accumulation_steps,
        "learning_rate": train.learning_rate,
        "weight_decay": train.weight_decay,
        "warmup_fraction": train.warmup_fraction,
        "sequence_length": length,
        "window_overlap": int(length * config.encoder.window_overlap_fraction),
    }


def _scores(task: Task, facts: dict, split: Split, predictions: Path) -> dict[str, float]:
    gold = [task.gold_of(record, facts) for record in split]
    lines = predictions.read_text(encoding="utf-8").splitlines()
    scored = task.scores(answers_of([json.loads(line) for line in lines]), gold, facts)
    return {name: metric["value"] for name, metric in scored["metrics"].items()}
