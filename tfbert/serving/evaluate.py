"""Evaluation of a run, a SavedModel or a Hugging Face model on labelled data: metrics with confidence intervals."""

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfbert.config import Config, from_dict, override
from tfbert.files import REPORT, read_json
from tfbert.huggingface.importing import is_huggingface, read_model
from tfbert.models.decision_values import read_values
from tfbert.models.predictor import Predict, predict_all
from tfbert.models.saved_run import SavedRun, load_run
from tfbert.serving.export import exported_task
from tfbert.serving.saved_predictor import SavedPredictor, find_version
from tfbert.tasks.base import FittedTask, Task, require_known_labels
from tfbert.tasks.base_pooled import has_pair
from tfbert.text.interpretation import interpret
from tfbert.text.records import Record, read_records
from tfbert.text.splits import Split, load_splits

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Model:
    """What an evaluation needs of a model."""

    config: Config
    task: FittedTask
    predict: Predict
    decided: Mapping[str, np.ndarray]


def evaluate(path: str | os.PathLike, data: str, values: Mapping[str, Any], task: str | None = None) -> dict:
    """Evaluate a model on labelled data.

    Args:
        path: a run directory, `saved_models/NAME`, the directory of a version, or a fine-tuned model in Hugging Face's
            layout, as a directory or `hf://owner/name`.
        data: a labelled file, all of which is used, or a directory, whose test split is used.
        values: config paths of `data` and their values, which say how to read the data.
        task: the task of a Hugging Face model; `None` to derive it from its config.

    Returns:
        `model`, `data`, `num_examples`, `metrics`, `per_label`.

    Raises:
        ValueError: `path` is none of these, the data cannot be read, or a label is unknown.
    """
    values = {**values, "data.path": data}
    if is_huggingface(os.fspath(path)):
        model, records = _foreign_model(os.fspath(path), values, task)
    elif task is not None:
        raise ValueError(f"--task {task}: {path} knows its task; expected a Hugging Face model")
    else:
        model = _own_model(Path(path))
        records = _records(override(model.config, values), model.task.definition)
    require_known_labels(model.task, [records])
    outputs, gold = predict_all(model.predict, model.task, records, title="evaluate")
    scores = model.task.evaluate(outputs, gold, model.decided).scores()
    return {"model": str(path), "data": data, "num_examples": len(gold), **scores}


def _own_model(path: Path) -> _Model:
    """Return the model of a run or of a SavedModel."""
    if (path / REPORT).exists():
        return _model_of(load_run(path))
    assets = find_version(path) / "assets"
    config, decided = from_dict(read_json(assets / "config.json")), read_values(assets / "decided.json")
    return _Model(config, exported_task(assets.parent), SavedPredictor(path), decided)


def _foreign_model(name: str, values: Mapping[str, Any], task: str | None) -> tuple[_Model, Iterable[Record]]:
    """Return a Hugging Face model and the records; whether it reads pairs is derived from the records if unknown."""
    foreign = read_model(name, task)
    records = _records(override(Config(task=foreign.task.name), values), foreign.task)
    reads_pairs = foreign.may_read_pairs and has_pair(records)[0]
    return _model_of(foreign.load(reads_pairs)), records


def _model_of(run: SavedRun) -> _Model:
    return _Model(run.config, run.task, run.predictor, run.predictor.decided_values())


def _records(config: Config, task: Task) -> Iterable[Record]:
    path = Path(config.data.path)
    if path.is_dir():
        splits = load_splits(config.data, path, task.schema)
        if "test" not in splits:
            raise ValueError(f"{path}: has no test split; expected one, or the file to evaluate on")
        split = splits["test"]
    else:
        split = Split("test", read_records(path, config.data, task.schema))
    interpretation = interpret({"test": split}, config.data, task.columns, is_training_data=False)
    for line in interpretation.lines() + interpretation.warnings:
        logger.info("%s", line)
    if interpretation.refusal:
        raise ValueError(interpretation.refusal)
    return split
