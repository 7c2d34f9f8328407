"""Evaluation of a run or a SavedModel on labelled data: metrics with confidence intervals."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tfbert.config import Config, from_dict, override
from tfbert.data_config import NO_SPLITS
from tfbert.files import REPORT, read_json
from tfbert.models.predictor import predict_all
from tfbert.models.saved_run import load_run
from tfbert.serving.decision_values import read_values
from tfbert.serving.export import exported_task
from tfbert.serving.saved_predictor import SavedPredictor, find_version
from tfbert.tasks.base import Task, require_known_labels
from tfbert.text.interpretation import interpret
from tfbert.text.records import Record, read_records
from tfbert.text.splits import Split, load_splits

logger = logging.getLogger(__name__)


def evaluate(path: Path, data: str, values: Mapping[str, Any]) -> dict:
    """Evaluate a model on labelled data.

    Args:
        path: a run directory, `saved_models/NAME`, or the directory of a version.
        data: a labelled file, all of which is used, or a directory, whose test split is used.
        values: config paths of `data` and their values, which say how to read the data.

    Returns:
        `model`, `data`, `num_examples`, `metrics`, `per_label`.

    Raises:
        ValueError: `path` is neither a run nor a SavedModel, the data cannot be read, or a label is unknown.
    """
    is_run = (path / REPORT).exists()
    assets = None if is_run else find_version(path) / "assets"
    run = load_run(path) if is_run else None
    config = run.config if run else from_dict(read_json(assets / "config.json"))
    task = run.task if run else exported_task(assets.parent)
    config = override(config, {**values, **NO_SPLITS, "data.path": data})
    records = _records(config, task.definition)
    require_known_labels(task, [records])
    predictor = run.predictor if run else SavedPredictor(path)
    decided = run.predictor.decided_values() if run else read_values(assets / "decided.json")
    outputs, gold = predict_all(predictor, task, records, title="evaluate")
    scores = task.evaluate(outputs, gold, decided).scores()
    return {"model": str(path), "data": data, "num_examples": len(gold), **scores}


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
