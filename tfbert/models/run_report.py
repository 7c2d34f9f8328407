"""Run reports: the values of a `report.json` that later commands need, checked when the file is read."""

import dataclasses
import reprlib
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tfbert.evaluation.metric import Metric, main_metric
from tfbert.fields import type_in_words
from tfbert.files import BEST_RUN, REPORT, naming, read_json

# Scores of the first split that has some are those of the run.
_SCORED_SPLITS = ("test", "validation")


@dataclass(frozen=True, kw_only=True)
class Trainings:
    """The trainings of a finished run.

    Args:
        kept: the subdirectory with the trainings that were kept after further pretraining; `None` without it.
        seeds: the seeds, if there are several; otherwise empty.
        best: the seed with the best score on validation; `None` if there is only one.
    """

    kept: str | None
    seeds: tuple[int, ...]
    best: int | None

    @classmethod
    def from_report(cls, report: Mapping[str, Any]) -> "Trainings":
        """Return the trainings that a `report.json` names.

        Raises:
            ValueError: a value is missing or has the wrong type.
        """
        kept = None
        if report.get("adaptation") is not None:
            kept = _value(report, "adaptation", "kept", hint=str)
        if _value(report, "seeds", hint=dict | None) is None:
            return cls(kept=kept, seeds=(), best=None)
        seeds = tuple(_value(report, "seeds", "seeds", hint=list))
        for index, seed in enumerate(seeds):
            _check(f"seeds.seeds.{index}", seed, int)
        best = _value(report, "seeds", "best", hint=int)
        if best not in seeds:
            raise ValueError(f"seeds.best={best}: expected one of seeds.seeds={list(seeds)}")
        return cls(kept=kept, seeds=seeds, best=best)

    @property
    def count(self) -> int:
        """The number of seeds, at least 1."""
        return len(self.seeds) or 1

    def best_dir(self, run_dir: Path) -> Path:
        """Return the directory of the training that is the result of the run."""
        return self._dir(run_dir, self.best)

    def dirs(self, run_dir: Path) -> list[Path]:
        """Return the directory of each training."""
        return [self._dir(run_dir, seed) for seed in self.seeds or (None,)]

    def _dir(self, run_dir: Path, seed: int | None) -> Path:
        kept = run_dir / (self.kept or "")
        return kept if seed is None else kept / f"seed-{seed}"


@dataclass(frozen=True, kw_only=True)
class SplitData:
    """The file of a split.

    Args:
        path: the path during the training.
        sha256: the SHA-256 of the split, as hex digits.
        num_examples: the number of records.
        note: how the records were selected from the file; empty for all of them.
    """

    path: str
    sha256: str
    num_examples: int
    note: str


@dataclass(frozen=True, kw_only=True)
class MainScore:
    """The main metric of a run on a split.

    Args:
        split: the name of the split.
        metric: the metric.
        value: the score, of the best seed if there are several.
        low: the lower bound of its 95 % interval.
        high: the upper bound.
        mean: the mean over the seeds; `None` for one.
        std: the standard deviation over the seeds; `None` for one.
    """

    split: str
    metric: Metric
    value: float
    low: float
    high: float
    mean: float | None = None
    std: float | None = None


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """The report of a finished run of a task.

    Args:
        task: the name of the task.
        config: the config, as nested dicts.
        encoder: the name of the encoder.
        trainings: the trainings.
        data: the file of each split that was evaluated, by name of the split.
        score: the main score; `None` if there is neither a test nor a validation split.
        seconds: duration of preparation, training and evaluation; of the best seed if there are several.
    """

    task: str
    config: Mapping[str, Any]
    encoder: str
    trainings: Trainings
    data: Mapping[str, SplitData]
    score: MainScore | None
    seconds: float

    @classmethod
    def from_json(cls, report: Mapping[str, Any]) -> "RunReport":
        """Return the report with the content of a `report.json`.

        Raises:
            ValueError: a value is missing or has the wrong type.
        """
        splits = [name for name in _SCORED_SPLITS if _value(report, name, hint=dict | None) is not None]
        trainings = Trainings.from_report(report)
        return cls(
            task=_value(report, "task", hint=str),
            config=_value(report, "config", hint=dict),
            encoder=_value(report, "config", "encoder", "name", hint=str),
            trainings=trainings,
            data={
                split: SplitData(
                    **{
                        field.name: _value(report, "data", split, field.name, hint=field.type)
                        for field in dataclasses.fields(SplitData)
                    }
                )
                for split in splits
            },
            score=_main_score(report, splits[0], trainings) if splits else None,
            seconds=sum_seconds(report),
        )

    def score_json(self) -> dict[str, Any]:
        """Return the score with its data and its spread over the seeds, ready for JSON."""
        score = self.score
        if score is None:
            return {"data": None, "metric": None, "value": None, "low": None, "high": None, "seeds": {"count": 1}}
        spread = {} if score.mean is None else {"mean": score.mean, "std": score.std}
        return {
            "data": {"split": score.split, **asdict(self.data[score.split])},
            "metric": score.metric.name,
            "value": score.value,
            "low": score.low,
            "high": score.high,
            "seeds": {"count": self.trainings.count, **spread},
        }


@dataclass(frozen=True, kw_only=True)
class PretrainingReport:
    """The report of a finished pretraining.

    Args:
        encoder: the name of the encoder that it started from; `None` for a new one.
        before: the loss of masked words of held-out text before the pretraining.
        after: the same after it.
        seconds: duration of preparation, training and evaluation.
    """

    encoder: str | None
    before: float
    after: float
    seconds: float

    @classmethod
    def from_json(cls, report: Mapping[str, Any]) -> "PretrainingReport":
        """Return the report with the content of a `report.json`.

        Raises:
            ValueError: a value is missing or has the wrong type.
        """
        return cls(
            encoder=_value(report, "config", "encoder", "name", hint=str | None),
            before=_value(report, "before", "masked_word_loss", hint=float),
            after=_value(report, "after", "masked_word_loss", hint=float),
            seconds=sum_seconds(report),
        )


def is_pretraining(report: Mapping[str, Any]) -> bool:
    """Return whether a `report.json` is that of a pretraining."""
    return "task" not in report and "before" in report


def is_search(report: Mapping[str, Any]) -> bool:
    """Return whether a `report.json` is that of a search, whose best run has a report of its own."""
    return "plan" in report


def read_run_report(run_dir: Path) -> RunReport:
    """Return the report of a finished run of a task.

    Raises:
        ValueError: the report cannot be read, or is one of a pretraining or a search; a value is missing or has the
            wrong type.
    """
    content = _content(run_dir)
    with naming(run_dir / REPORT):
        return RunReport.from_json(content)


def read_trainings(run_dir: Path) -> Trainings:
    """Return the trainings of a finished run.

    Raises:
        ValueError: as for `read_run_report`.
    """
    content = _content(run_dir)
    with naming(run_dir / REPORT):
        return Trainings.from_report(content)


def sum_seconds(report: Mapping[str, Any]) -> float:
    """Return the total duration of the stages in a `report.json`, of which those without a duration are `None`.

    Raises:
        ValueError: a value is missing or has the wrong type.
    """
    stages = _value(report, "seconds", hint=dict)
    return sum(_value(report, "seconds", stage, hint=float | None) or 0.0 for stage in stages)


def num_trials(report: Mapping[str, Any]) -> int:
    """Return the number of trials in the `report.json` of a search.

    Raises:
        ValueError: the value is missing or has the wrong type.
    """
    return len(_value(report, "trials", hint=list))


def _content(run_dir: Path) -> dict[str, Any]:
    report = read_json(run_dir / REPORT)
    if is_pretraining(report):
        raise ValueError(f"{run_dir}: is a pretraining; expected a run of a task")
    if is_search(report):
        raise ValueError(f"{run_dir}: is a search; expected a run, such as its best one, {run_dir / BEST_RUN}")
    return report


def _main_score(report: Mapping[str, Any], split: str, trainings: Trainings) -> MainScore:
    declared = [_metric(index, fields) for index, fields in enumerate(_value(report, "metrics", hint=list))]
    scores = _value(report, split, "metrics", hint=dict)
    measured = [metric for metric in declared if metric.name in scores]
    for name in sorted(scores.keys() - {metric.name for metric in declared}):
        raise ValueError(f"{split}.metrics.{name} is not declared in metrics")
    if not measured:
        raise ValueError(f"{split}.metrics={{}}: expected the score of a metric")
    monitor = _value(report, "config", "train", "monitor", hint=str | None)
    metric = main_metric(measured, monitor)
    values = {
        name: _value(report, split, "metrics", metric.name, name, hint=float) for name in ("value", "low", "high")
    }
    if trainings.seeds:
        values |= {name: _value(report, "seeds", split, metric.name, name, hint=float) for name in ("mean", "std")}
    return MainScore(split=split, metric=metric, **values)


def _metric(index: int, fields: Any) -> Metric:
    """Return the metric with the given fields, which is the one with this index in the report."""
    path, hints = f"metrics.{index}", typing.get_type_hints(Metric)
    _check(path, fields, dict)
    for name in fields:
        if name not in hints:
            raise ValueError(f"{path}.{name}: expected one of {', '.join(hints)}")
        _check(f"{path}.{name}", fields[name], hints[name])
    for field in dataclasses.fields(Metric):
        if field.default is dataclasses.MISSING and field.name not in fields:
            raise ValueError(_missing(f"{path}.{field.name}"))
    return Metric.from_json(fields)


def _value(report: Mapping[str, Any], *names: str, hint: Any) -> Any:
    """Return the value at a path of nested dicts, after checking its type."""
    node = report
    for depth, name in enumerate(names):
        if depth:
            _check(".".join(names[:depth]), node, dict)
        if name not in node:
            raise ValueError(_missing(".".join(names[: depth + 1])))
        node = node[name]
    _check(".".join(names), node, hint)
    return node


def _missing(path: str) -> str:
    return f"{path} is missing; the file is damaged, or was written by another version of tfbert"


def _check(path: str, value: Any, hint: Any) -> None:
    if not _has_type(value, hint):
        raise ValueError(f"{path}={reprlib.repr(value)}: expected {type_in_words(hint)}")


def _has_type(value: Any, hint: Any) -> bool:
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        return any(_has_type(value, kind) for kind in typing.get_args(hint))
    return type(value) is hint or (hint is float and type(value) is int)
