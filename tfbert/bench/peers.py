"""What a row of the quality table stands next to: the same data and encoder, done in another way, scored by us."""

import json
import logging
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfbert.bench.baseline import frozen_accuracy
from tfbert.config import Config, from_dict
from tfbert.encoder.backbone import load_encoder
from tfbert.encoder.presets import resolve
from tfbert.encoder.weights import copy_weights
from tfbert.files import read_json, write_json
from tfbert.tasks.base import Task, load_task
from tfbert.text.splits import Split, load_splits
from tfbert.training.answering import answer_all
from tfbert.training.finished import load_run

logger = logging.getLogger(__name__)

_TRANSFORMERS, _OPTUNA = (Path(__file__).with_name(f"{name}_peer.py") for name in ("transformers", "optuna"))
_PYTHON = Path(".venv-peers") / "bin" / "python"
FOLDER = "peer"

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
    copy_weights(encoder.backbone, answering.model.backbone)
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
        config, task, facts, splits = _of_run(run_dir)
        job = _job(kind, config, splits, run_dir / FOLDER) | {"epochs": len(_history(run_dir))}
        predictions, summary = _done(python, _TRANSFORMERS, job)
        return _scores(task, facts, splits["test"], predictions) | {"seconds": summary["seconds"]}

    return peer


def transformers_epoch(kind: str, run_dir: Path, out_dir: Path, arguments: Mapping[str, Any]) -> tuple[dict, dict]:
    """Return what one epoch of PyTorch transformers took, and reached, on the data of a finished run.

    Args:
        kind: of model, as `transformers_peer.py` calls it.
        run_dir: of the run, which says data, encoder, batch size and rate.
        out_dir: for the job and its predictions.
        arguments: further `TrainingArguments`.

    Returns:
        The summary that `transformers_peer.py` writes, and its test scores by metric.

    Raises:
        ValueError: the peers' environment is not there.
    """
    python = peers_python()
    if python is None:
        raise ValueError("the peers' environment is not there; wanted what `make peers` builds")
    config, task, facts, splits = _of_run(run_dir)
    job = _job(kind, config, splits, out_dir) | {"epochs": 1, "arguments": {**arguments, "disable_tqdm": True}}
    predictions, summary = _done(python, _TRANSFORMERS, job)
    return summary, _scores(task, facts, splits["test"], predictions)


def job_of(run_dir: Path, out_dir: Path) -> dict[str, Any]:
    """Return the job of a classification of texts for the data of a finished run, which are written to `out_dir`."""
    config, _, _, splits = _of_run(run_dir)
    return _job("sequence", config, splits, out_dir)


def optuna(kind: str, run_dir: Path, search: Mapping[str, Any]) -> dict | None:
    """Return what Optuna finds with PyTorch transformers, for a finished run's data and encoder.

    Args:
        kind: of model, as `transformers_peer.py` calls it.
        run_dir: of the run.
        search: `trials`, `ranges` and `seeds`, as `optuna_peer.py` wants them.

    Returns:
        `test`, metric to a value a seed; `seconds`; `best`, the values of the best trial. `None` without the peers'
        environment.
    """
    python = peers_python()
    if python is None:
        return None
    config, task, facts, splits = _of_run(run_dir)
    predictions, summary = _done(python, _OPTUNA, _job(kind, config, splits, run_dir / FOLDER) | search)
    of_seeds = [predictions.with_name(f"{predictions.stem}-{seed}.jsonl") for seed in search["seeds"]]
    scores = [_scores(task, facts, splits["test"], path) for path in of_seeds]
    test = {name: [values[name] for values in scores] for name in scores[0]}
    return {"test": test, "seconds": summary["seconds"], "best": summary["best"]}


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


def _of_run(run_dir: Path) -> tuple[Config, Task, dict, dict[str, Split]]:
    """Return the config of a finished run, its task with the facts, and its data."""
    config = from_dict(read_json(run_dir / "config.json"))
    task, facts = load_task(config.task), read_json(run_dir / "model.json")["facts"]
    return config, task, facts, load_splits(config.data, Path(config.data.path or task.samples_dir), task.schema)


def _done(python: Path, script: Path, job: dict) -> tuple[Path, dict]:
    """Return where a script wrote its predictions, and its summary; it is run if it has not been."""
    predictions = Path(job["out"])
    summary = predictions.with_suffix(".summary.json")
    if not summary.exists():
        path = predictions.with_name("job.json")
        write_json(path, job | {"started_at": time.time()})
        command = [str(python), "-P", str(script.resolve()), str(path)]
        logger.info("%s", " ".join(command))
        subprocess.run(command, check=True)
    return predictions, read_json(summary)


def _history(run_dir: Path) -> list:
    return read_json(run_dir / "report.json")["history"]


def _job(kind: str, config: Config, splits: dict[str, Split], out_dir: Path) -> dict:
    out_dir.mkdir(exist_ok=True)
    for name in splits:
        with open(out_dir / f"{name}.jsonl", "w", encoding="utf-8") as stream:
            for record in splits[name]:
                stream.write(json.dumps({"texts": record.texts, "target": record.target}) + "\n")
    train, length = config.train, config.encoder.sequence_length
    return {
        "kind": kind,
        "encoder": str(resolve(config.encoder.name).directory),
        **{name: str(out_dir / f"{name}.jsonl") for name in splits},
        "out": str(out_dir / "predictions.jsonl"),
        "seed": train.seed,
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
