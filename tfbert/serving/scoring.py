"""A run or a SavedModel and labelled data in, scores with intervals out."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfbert.config import Config, from_dict, override
from tfbert.files import read_json
from tfbert.serving.predictor import Predictor, find_version
from tfbert.tasks.base import Task, load_task
from tfbert.text.datasets import tokenize
from tfbert.text.records import Record, read_records
from tfbert.text.splits import load_splits
from tfbert.training.run import REPORT, load_run
from tfbert.training.trainer import predict_logits

_BATCH_SIZE = 64


def evaluate(path: Path, data: str, values: Mapping[str, Any]) -> dict:
    """Score what is at `path`.

    Args:
        path: a run directory, `saved_models/NAME`, or a version.
        data: a labelled file, every record of which counts, or a directory, whose test split counts.
        values: config paths that say how to read the data.

    Returns:
        `model`, `data`, `num_examples`, `metrics`, `per_label`.

    Raises:
        ValueError: neither a run nor a SavedModel; data that cannot be read; labels the model does not know.
    """
    is_run = (path / REPORT).exists()
    assets = None if is_run else find_version(path) / "assets"
    run = load_run(path) if is_run else None
    config = run.config if run else from_dict(read_json(assets / "config.json"))
    facts = run.facts if run else read_json(assets / "facts.json")
    config = override(config, {**values, "data.path": data})
    task = load_task(config.task)
    records = _records(config)
    if run:
        logits, targets = _from_run(run, task, facts, config, records)
    else:
        logits, targets = _from_saved_model(Predictor(path), task, facts, records)
    return {"model": str(path), "data": data, "num_examples": len(targets), **task.scores(logits, targets, facts)}


def _records(config: Config):
    path = Path(config.data.path)
    if not path.is_dir():
        return read_records(path, config.data)
    splits = load_splits(config.data, path)
    if "test" not in splits:
        raise ValueError(f"{path}: has no test split; wanted one, or the file to score")
    return splits["test"]


def _known(task: Task, facts: dict, records) -> Iterator[tuple[Record, int]]:
    target_of = task.target_of(facts)
    for record in records:
        target = target_of(record)
        if target == -1:
            raise ValueError(f"{record.where}: label '{record.label}' is not one of the {len(facts['labels'])} labels")
        yield record, target


def _from_run(run, task: Task, facts: dict, config: Config, records) -> tuple[np.ndarray, np.ndarray]:
    import tempfile

    checked = (record for record, _ in _known(task, facts, records))
    with tempfile.TemporaryDirectory() as folder:
        split = tokenize(checked, run.tokenizer, task.target_of(facts), [], Path(folder))
        return predict_logits(run.model, split, config.encoder.sequence_length, "evaluate"), split.targets


def _from_saved_model(predictor: Predictor, task: Task, facts: dict, records) -> tuple[np.ndarray, np.ndarray]:
    logits, targets, texts = [], [], []

    def flush():
        logits.append(task.logits_of(predictor.predict(texts)))
        texts.clear()

    for record, target in _known(task, facts, records):
        texts.append(record.text)
        targets.append(target)
        if len(texts) == _BATCH_SIZE:
            flush()
    if texts:
        flush()
    return np.concatenate(logits), np.asarray(targets)
