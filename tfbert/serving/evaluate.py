"""Evaluation of a run, a SavedModel or a Hugging Face model on labelled data: metrics with confidence intervals."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfbert.config import Config, from_dict, override
from tfbert.data_config import NO_SPLITS
from tfbert.files import REPORT, read_json
from tfbert.huggingface.importing import is_huggingface, read_model
from tfbert.models.decision_values import read_values
from tfbert.models.predictor import Predict, predict_all
from tfbert.models.saved_run import SavedRun, load_run
from tfbert.serving.export import exported_task
from tfbert.serving.saved_predictor import SavedPredictor
from tfbert.tasks.base import FittedTask, Task
from tfbert.tasks.base_config import require_known_labels
from tfbert.tasks.base_pooled import has_pair
from tfbert.text.interpretation import interpret
from tfbert.text.records import Record, read_records
from tfbert.text.splits import Split, load_splits

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A trained model in memory, ready to evaluate.

    Args:
        path: the run or the SavedModel, for messages.
        config: the config of its training.
        task: the fitted task.
        predict: returns the served outputs for items: arrays by name, item first.
        decided: the values of the decision's variables by name.
    """

    path: Path
    config: Config
    task: FittedTask
    predict: Predict
    decided: Mapping[str, np.ndarray]

    @classmethod
    def of_run(cls, path: Path, run: SavedRun) -> "LoadedModel":
        """Return the model of a loaded run."""
        return cls(
            path=path,
            config=run.config,
            task=run.task,
            predict=run.predictor,
            decided=run.predictor.decided_values(),
        )

    @classmethod
    def of_saved_model(cls, path: Path, predictor: SavedPredictor) -> "LoadedModel":
        """Return the model of a loaded SavedModel."""
        assets = predictor.version_dir / "assets"
        return cls(
            path=path,
            config=from_dict(read_json(assets / "config.json")),
            task=exported_task(predictor.version_dir),
            predict=predictor,
            decided=read_values(assets / "decided.json"),
        )

    @classmethod
    def load(cls, path: Path) -> "LoadedModel":
        """Load a run directory, `saved_models/NAME`, or the directory of a version.

        Raises:
            ValueError: `path` is neither a run nor a SavedModel.
        """
        if (path / REPORT).exists():
            return cls.of_run(path, load_run(path))
        return cls.of_saved_model(path, SavedPredictor(path))


@dataclass(frozen=True, kw_only=True)
class LabelledPredictions:
    """Labelled records and a model's predictions for them.

    Args:
        task: the fitted task of the model.
        config: the config of the model, with the given data settings.
        records: the records, in order; they can be read any number of times.
        outputs: the served outputs as arrays by name, record first.
        gold: the gold value of each record.
        decided: the values of the decision's variables by name.
        predict: the model's function from items to served outputs.
    """

    task: FittedTask
    config: Config
    records: Iterable[Record]
    outputs: Mapping[str, np.ndarray]
    gold: Sequence
    decided: Mapping[str, np.ndarray]
    predict: Predict

    def scores(self) -> dict:
        """Return `num_examples`, `metrics`, `per_label`."""
        evaluation = self.task.evaluate(self.outputs, self.gold, self.decided)
        return {"num_examples": len(self.gold), **evaluation.scores()}


def evaluate(path: str | os.PathLike, data: str, values: Mapping[str, Any], task: str | None = None) -> dict:
    """Evaluate a model on labelled data; the arguments and errors are those of `predict_labelled`.

    Returns:
        `model`, `data`, `num_examples`, `metrics`, `per_label`.

    Raises:
        ValueError: `path` is none of these, the data cannot be read, or a label is unknown.
    """
    return {"model": str(path), "data": data, **predict_labelled(path, data, values, task).scores()}


def predict_labelled(
    path: str | os.PathLike,
    data: str,
    values: Mapping[str, Any],
    task: str | None = None,
    require: Callable[[FittedTask], None] = lambda task: None,
) -> LabelledPredictions:
    """Predict labelled data.

    Args:
        path: a run directory, `saved_models/NAME`, the directory of a version, or a fine-tuned model in Hugging Face's
            layout, as a directory or `hf://owner/name`.
        data: a labelled file, all of which is used, or a directory, whose test split is used.
        values: config paths of `data` and their values, which say how to read the data.
        task: the task of a Hugging Face model; `None` to derive it from its config.
        require: called with the fitted task before anything is predicted, to reject tasks.

    Raises:
        ValueError: `path` is none of these, the data cannot be read, a label is unknown, or the task is rejected.
    """
    name = os.fspath(path)
    if not is_huggingface(name):
        if task is not None:
            raise ValueError(f"--task {task}: {path} knows its task; expected a Hugging Face model")
        model = LoadedModel.load(Path(path))
        require(model.task)
        return predict_records(model, data, values)
    foreign = read_model(name, task)
    records = _records(_with_data(Config(task=foreign.task.name), data, values), foreign.task)
    # The config of a classifier does not say whether it reads pairs.
    model = LoadedModel.of_run(Path(path), foreign.load(foreign.may_read_pairs and has_pair(records)[0]))
    require(model.task)
    return _predict(model, model.config, records)


def predict_records(model: LoadedModel, data: str, values: Mapping[str, Any]) -> LabelledPredictions:
    """Predict labelled data with a loaded model; the other arguments and errors are those of `predict_labelled`.

    Raises:
        ValueError: the data cannot be read, or a label is unknown.
    """
    config = _with_data(model.config, data, values)
    return _predict(model, config, _records(config, model.task.definition))


def _with_data(config: Config, data: str, values: Mapping[str, Any]) -> Config:
    # Corrections belong to the training data.
    return override(config, {**values, **NO_SPLITS, "data.path": data, "data.corrections": None})


def _predict(model: LoadedModel, config: Config, records: Iterable[Record]) -> LabelledPredictions:
    require_known_labels(model.task, [records])
    outputs, gold = predict_all(model.predict, model.task, records, title="evaluate")
    return LabelledPredictions(
        task=model.task,
        config=config,
        records=records,
        outputs=outputs,
        gold=gold,
        decided=model.decided,
        predict=model.predict,
    )


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
