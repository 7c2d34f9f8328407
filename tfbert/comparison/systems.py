"""Systems to compare: runs and SavedModels with their predictions for test records, stored or made for given data."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfbert.config import Config, from_dict
from tfbert.evaluation.metric import Evaluation
from tfbert.files import BEST_RUN, CONFIG, REPORT, STARTED, read_json
from tfbert.models import variables
from tfbert.models.data import data_path
from tfbert.models.predictions import read_predictions
from tfbert.models.run_report import RunReport, is_search, read_run_report, read_trainings
from tfbert.models.saved_run import stored_task
from tfbert.models.variables import empty_variables
from tfbert.serving.evaluate import predict_labelled
from tfbert.serving.saved_predictor import find_version
from tfbert.tasks.base import FittedTask
from tfbert.text.records import Record
from tfbert.text.splits import load_splits
from tfbert.training.run import PREDICTIONS

_SPLIT = "test"
# The time in the name of a run, `20261130-161217-5ca0a14a`.
_RUN_TIME = re.compile(r"^\d{8}-\d{6}-(?=.)")
_ADVICE = "give --data to evaluate all models on the same records"


@dataclass(frozen=True)
class Training:
    """The predictions of one training.

    Args:
        outputs: the served outputs as arrays by name, record first.
        decided: the values of the decision's variables by name.
    """

    outputs: Mapping[str, np.ndarray]
    decided: Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class System:
    """A model, or the models of several seeds of one run, with predictions for labelled records.

    Args:
        name: distinguishes the system from the others, in a few characters if possible.
        path: the run, or the SavedModel.
        config: the config of the model.
        task: the fitted task.
        records: the labelled records.
        trainings: the predictions of each seed.
        shown: the index of the training with the best score on validation, whose predictions are shown.
        num_seeds: the number of seeds of the run, of which `trainings` may only have the best.
    """

    name: str
    path: Path
    config: Config
    task: FittedTask
    records: Sequence[Record]
    trainings: Sequence[Training]
    shown: int = 0
    num_seeds: int = 1

    def keys(self) -> list[bytes]:
        """Return a hash of the texts and the true value of each record, and of how often it occurred before."""
        truth_of, counts, keys = self.task.definition.truth_of, Counter(), []
        for record in self.records:
            content = json.dumps([record.texts, truth_of(record)], sort_keys=True)
            counts[content] += 1
            keys.append(hashlib.blake2b(f"{counts[content]} {content}".encode(), digest_size=16).digest())
        return keys

    def evaluations(self, records: Sequence[int]) -> list[Evaluation]:
        """Return the evaluation of each training on the records with these indices."""
        gold = [self.task.gold(self.records[index]) for index in records]
        indices = np.asarray(records)
        return [
            self.task.evaluate({n: values[indices] for n, values in t.outputs.items()}, gold, t.decided)
            for t in self.trainings
        ]


def load_systems(models: Sequence[str], data: str | None, values: Mapping[str, Any]) -> list[System]:
    """Return the systems to compare.

    Args:
        models: for each system `PATH` or `NAME=PATH`, the path of a finished run or of a SavedModel.
        data: a labelled file, or a directory with a test split, which all models predict; `None` for the predictions
            for the test split that the runs have stored. With stored predictions, a run with several seeds has those
            of all seeds, if all runs have the same number.
        values: config paths of `data` and their values, which say how to read it; only with `data`.

    Raises:
        ValueError: there are fewer than two models, one of them occurs twice or cannot be used, or its test records
            have changed.
    """
    paths = _named_paths(models)
    for path in paths.values():
        _require_model(path)
    if data is not None:
        return [_predicted(name, path, data, values) for name, path in paths.items()]
    for path in values:
        raise ValueError(f"--set {path}: has no effect without --data")
    reports = {name: _report(path) for name, path in paths.items()}
    all_seeds = len({report.trainings.count for report in reports.values()}) == 1
    records: dict[str, Sequence[Record]] = {}
    return [_stored(name, path, reports[name], records, all_seeds) for name, path in paths.items()]


def _named_paths(models: Sequence[str]) -> dict[str, Path]:
    """Return the path of each system by its name: the given one, or the end of the path, as short as it is unique.

    The path of a search becomes that of its best run.
    """
    if len(models) < 2:
        raise ValueError("give two or more runs or SavedModels, or none to list the runs")
    named = []
    for model in models:
        name, equals, path = model.partition("=")
        named.append((name, Path(path)) if equals and not Path(model).exists() else ("", Path(model)))
    components = [path.resolve().parts for _, path in named]
    for index, model in enumerate(models):
        if components[index] in components[:index]:
            raise ValueError(f"{model}: given twice; expected different models")
    candidates = [[_RUN_TIME.sub("", path[-1]) for path in components]]
    candidates += [
        ["/".join(path[-length:]) for path in components] for length in range(1, max(map(len, components)) + 1)
    ]
    # The number of a version alone does not name a model.
    ends = next(names for names in candidates if len(set(names)) == len(names) and not any(map(str.isdecimal, names)))
    names = [name or end for (name, _), end in zip(named, ends, strict=True)]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"{models[index]}: is the second model named {name}; expected different names")
    paths = [path / BEST_RUN if _is_search(path) else path for _, path in named]
    return dict(zip(names, paths, strict=True))


def _require_model(path: Path) -> None:
    if (path / REPORT).exists():
        return
    if (path / STARTED).exists():
        raise ValueError(f"{path}: is not finished; expected finished runs")
    try:
        find_version(path)
    except ValueError as error:
        raise ValueError(f"{path}: is neither a finished run nor a SavedModel") from error


def _is_search(path: Path) -> bool:
    return (path / REPORT).exists() and is_search(read_json(path / REPORT))


def _report(run_dir: Path) -> RunReport:
    """Return the report of a finished run that has stored predictions for a test split."""
    if not (run_dir / REPORT).exists():
        raise ValueError(f"{run_dir}: a SavedModel has no stored predictions; {_ADVICE}")
    report = read_run_report(run_dir)
    if _SPLIT not in report.data:
        raise ValueError(f"{run_dir}: has no test split; {_ADVICE}")
    return report


def _stored(name: str, run_dir: Path, report: RunReport, cache: dict[str, Sequence[Record]], all_seeds: bool) -> System:
    """Return the system of a run, from its stored predictions."""
    best, sha256 = report.trainings.best_dir(run_dir), report.data[_SPLIT].sha256
    config, task = from_dict(read_json(best / CONFIG)), stored_task(best)
    key = json.dumps([config.task, config.to_dict()["data"], sha256])
    if key not in cache:
        cache[key] = _test_records(run_dir, config, task, sha256)
    records = cache[key]
    folders = report.trainings.dirs(run_dir) if all_seeds else [best]
    trainings = []
    for folder in folders:
        outputs, ids = read_predictions(folder / PREDICTIONS, _SPLIT, task.outputs)
        if ids != [record.where for record in records]:
            raise ValueError(
                f"{folder / PREDICTIONS}: has predictions for other records than the test split; {_ADVICE}"
            )
        decided = empty_variables(task.decision.specs if task.decision else {})
        variables.load(folder, decided)
        trainings.append(Training(outputs, {n: variable.numpy() for n, variable in decided.items()}))
    return System(
        name=name,
        path=run_dir,
        config=config,
        task=task,
        records=records,
        trainings=trainings,
        shown=folders.index(best) if len(folders) > 1 else 0,
        num_seeds=report.trainings.count,
    )


def _test_records(run_dir: Path, config: Config, task: FittedTask, sha256: str) -> list[Record]:
    """Return the test records of a run, after checking that their file is the one that it was tested on."""
    path = data_path(config)
    if not path.exists():
        raise ValueError(f"{run_dir}: its data {path} does not exist here; {_ADVICE}")
    split = load_splits(config.data, path, task.definition.schema).get(_SPLIT)
    if split is None or split.sha256 != sha256:
        raise ValueError(f"{run_dir}: its test data in {path} has changed since the run; {_ADVICE}")
    return list(split)


def _predicted(name: str, path: Path, data: str, values: Mapping[str, Any]) -> System:
    """Return the system of a run or a SavedModel that predicts given data."""
    predicted = predict_labelled(path, data, values)
    return System(
        name=name,
        path=path,
        config=predicted.config,
        task=predicted.task,
        records=list(predicted.records),
        trainings=[Training(predicted.outputs, predicted.decided)],
        num_seeds=read_trainings(path).count if (path / REPORT).exists() else 1,
    )
