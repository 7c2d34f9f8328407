"""The audit of a model for bias and shortcuts: groups, swap tests, and tokens that give labels away."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfbert.audit.answers import Answers, answers_of, gold_labels, require_audited
from tfbert.audit.groups import GroupAudit, audit_groups, group_by_column, group_by_terms
from tfbert.audit.shortcuts import ShortcutAudit, audit_shortcuts
from tfbert.audit.statistics import CONFIDENCE
from tfbert.audit.swaps import SwapAudit, audit_swaps
from tfbert.evaluation.metric import Metric, main_metric
from tfbert.files import REPORT, read_json
from tfbert.huggingface.importing import is_huggingface
from tfbert.models.data import load_task_splits
from tfbert.models.predictor import predict_all
from tfbert.models.saved_run import finished_run
from tfbert.serving.evaluate import LabelledPredictions, LoadedModel, predict_records
from tfbert.tasks.base import FittedTask
from tfbert.text.records import Record
from tfbert.text.terms import BUILT_IN, TermList, load_terms

# Fields of the section `train` that mitigate bias.
_MITIGATIONS = ("counterfactuals", "group_weights")


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Args:
        num_texts: number of audited texts.
        metric: the metric by which groups are compared.
        has_labels: whether the model predicts labels, rather than a value.
        mitigations: the config fields by which training mitigated bias, with their values.
        groups: the scores by group, for each grouping with members.
        swaps: the swap tests of all pairs of groups that are mentioned.
        shortcuts: the tokens that give labels away.
        unmentioned: names of the lists without a mention in the texts.
    """

    num_texts: int
    metric: Metric
    has_labels: bool
    mitigations: dict[str, str]
    groups: tuple[GroupAudit, ...]
    swaps: tuple[SwapAudit, ...]
    shortcuts: ShortcutAudit
    unmentioned: tuple[str, ...]

    def is_finding(self, audit: GroupAudit) -> bool:
        """Return whether the groups differ by more than chance, corrected for the number of groupings."""
        return audit.gap is not None and audit.gap.p_value * len(self.groups) <= 1 - CONFIDENCE

    def findings(self) -> list[str]:
        """Return a sentence for each difference of groups and each effect of a word that is more than chance."""
        sentences = []
        for audit in self.groups:
            if self.is_finding(audit):
                gap = audit.gap
                sentences.append(
                    f"{audit.grouping.source}: the {gap.measure} is {gap.difference.value:.3f} higher for "
                    f"{gap.highest} than for {gap.lowest}; random groups differ by up to {gap.chance:.3f}"
                )
        for swap in self.swaps:
            for direction in swap.directions:
                if direction.is_finding:
                    sentences.append(_effect(swap, direction.name, direction.change, self.has_labels))
        return sentences

    def to_json(self) -> dict[str, Any]:
        """Return the audit as JSON values, with `findings`; NaN becomes `None`."""
        tree = dataclasses.asdict(self)
        for group in tree["groups"]:
            grouping = group.pop("grouping")
            group |= {name: grouping[name] for name in ("source", "description", "num_several")}
        return _plain({**tree, "metric": self.metric.name, "findings": self.findings()})


def _effect(swap: SwapAudit, name: str, change: Any, has_labels: bool) -> str:
    first, second = swap.groups
    what = f"the probability of {name!r}" if has_labels else "the predicted value"
    side = "higher" if change.value > 0 else "lower"
    low, high = sorted((abs(change.low), abs(change.high)))
    return (
        f"{swap.source}: with a term of {second} in place of {first}, {what} is {abs(change.value):.3f} {side} "
        f"(interval {low:.3f} to {high:.3f})"
    )


def audit_model(
    path: Path,
    data: str,
    values: Mapping[str, Any],
    terms: str | None = None,
    require: Callable[[FittedTask], None] = lambda task: None,
) -> tuple[LabelledPredictions, Audit]:
    """Predict labelled data, and audit the predictions.

    Args:
        path: a run directory, `saved_models/NAME`, or the directory of a version.
        data: a labelled file, or a directory with a test split.
        values: config paths of `data` and their values, which say how to read the data. Texts are also grouped by
            `data.group_column`, if it is set here or in the config of the run.
        terms: a list of terms to use instead of the built-in ones: a name or a path.
        require: called with the fitted task before anything is predicted, to reject tasks for another reason.

    Raises:
        ValueError: the model cannot be audited, the data cannot be read, or a list or a column is invalid.
    """
    if is_huggingface(str(path)):
        raise ValueError(f"--audit: {path} is a Hugging Face model; export it first, and audit the SavedModel")
    lists = [load_terms(name) for name in ([terms] if terms else BUILT_IN)]
    model = LoadedModel.load(path)
    require_audited(model.task)
    require(model.task)
    predictions = predict_records(model, data, values)
    return predictions, audit_predictions(model, predictions, lists, training_records(model, predictions))


@dataclass(frozen=True)
class TrainingData:
    """The records that tokens are counted in.

    Args:
        source: their origin, in words.
        records: the records.
    """

    source: str
    records: list[Record]


def training_records(model: LoadedModel, predictions: LabelledPredictions) -> TrainingData:
    """Return the training records of a run if its files are unchanged, else the evaluated ones."""
    problem = f"{model.path} is a SavedModel, which does not say where its training data are"
    if (model.path / REPORT).exists():
        stored = read_json(finished_run(model.path) / REPORT)["data"]["train"]
        try:
            split = load_task_splits(model.config, model.task.definition)["train"]
            if split.sha256 == stored["sha256"]:
                return TrainingData("the training data of the run", list(split))
            problem = f"{stored['path']} has changed since the run"
        except (OSError, ValueError) as error:
            problem = f"the training data of the run cannot be read ({error})"
    return TrainingData(f"the audited data, because {problem}", list(predictions.records))


def audit_predictions(
    model: LoadedModel, predictions: LabelledPredictions, lists: Sequence[TermList], training: TrainingData
) -> Audit:
    """Audit predictions for labelled records.

    Args:
        model: the loaded model, which also predicts texts with other terms.
        predictions: its predictions.
        lists: lists of terms.
        training: the records that tokens are counted in.

    Raises:
        ValueError: no record has a value in `data.group_column`.
    """
    task, records = predictions.task, list(predictions.records)
    answers, gold = answers_of(task, predictions.outputs), _gold(task, records)
    functions = task.evaluate(predictions.outputs, predictions.gold, predictions.decided).score_functions()
    measured = [metric for metric in task.metrics if metric.name in functions]
    metric = main_metric(measured, predictions.config.train.monitor)
    score, is_fraction = functions[metric.name], metric.unit == "fraction"
    column = predictions.config.data.group_column
    by_list = {terms: group_by_terms(terms, records) for terms in lists}
    mentioned = [terms for terms, grouping in by_list.items() if grouping.has_texts]
    groupings = [by_list[terms] for terms in mentioned]
    if column is not None:
        groupings.insert(0, group_by_column(column, records))

    def predict(swapped: list[Record]) -> Answers:
        return answers_of(task, predict_all(model.predict, task, swapped, len(swapped), "swap test")[0])

    swaps = audit_swaps(mentioned, records, answers, predict)
    return Audit(
        num_texts=len(records),
        metric=metric,
        has_labels=bool(task.known_labels),
        mitigations=_mitigations(model),
        groups=tuple(audit_groups(grouping, answers, gold, score, is_fraction) for grouping in groupings),
        swaps=tuple(swap for swap in swaps if swap.num_texts),
        shortcuts=audit_shortcuts(
            training.source,
            training.records,
            _gold(task, training.records),
            task.known_labels,
            records,
            gold,
            score,
            is_fraction,
        ),
        unmentioned=tuple(terms.name for terms in lists if terms not in mentioned),
    )


def _mitigations(model: LoadedModel) -> dict[str, str]:
    train = model.config.train
    values = {f"train.{name}": getattr(train, name) for name in _MITIGATIONS}
    return {path: value for path, value in values.items() if value is not None}


def _gold(task: FittedTask, records: Sequence[Record]) -> np.ndarray:
    """Return which labels each record has, or its value: `(records, names)`."""
    if task.known_labels:
        return gold_labels(task, records)
    return np.array([[task.gold(record)] for record in records], np.float64)


def _plain(value: Any) -> Any:
    """Return nested values for JSON."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
