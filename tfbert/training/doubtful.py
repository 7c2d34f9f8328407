"""Doubtful labels in the report of a run: those of train by the frozen encoder, those of test by the trained model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfbert.data_quality import tables
from tfbert.data_quality.doubtful import DoubtfulRow, Judged, Judgement, doubtful_rows, is_supported, judge
from tfbert.data_quality.label_errors import scores_of_model
from tfbert.data_quality.labels import GivenLabel
from tfbert.data_quality.vectors import record_vectors
from tfbert.tasks.base_explained import ExplainedTags
from tfbert.text.corrections import read_corrections
from tfbert.training.problem import Problem

# Records of train that are examined: this number, or more if training on a record costs much more than its vector.
_MIN_RECORDS, _FRACTION_PER_EPOCH = 2000, 0.12


def find_doubtful(problem: Problem, predictions: Mapping[str, tuple[dict, list]], num_epochs: int) -> Judgement | None:
    """Return the doubtful labels of train and of test, or of validation without a test split.

    The model has learned the labels of train, wrong ones included, so the frozen encoder judges them. That takes a few
    percent of the time of training.

    Args:
        problem: prepared.
        predictions: served outputs and gold values by split.
        num_epochs: the number of epochs of the training.

    Returns:
        `None` for a task whose labels cannot be judged.
    """
    task = problem.task
    if not is_supported(task.definition):
        return None
    split = next((name for name in ("test", "validation") if name in predictions), None)
    num_train = len(problem.tokenized["train"].num_tokens)
    limits = {"train": max(_MIN_RECORDS, int(_FRACTION_PER_EPOCH * num_epochs * num_train))}
    by_model = not isinstance(task.explained, ExplainedTags)
    if split is not None and not by_model:
        # Entities that are not predicted have no probability.
        limits[split] = limits["train"]
    judged = judge(problem.labelled_data(), limits)
    if split is None or not by_model:
        return judged.judgement
    outputs, gold = predictions[split]
    return _joined(judged.judgement, split, _by_model(problem, judged, split, outputs, gold), len(gold))


def write_doubtful(problem: Problem, judgement: Judgement, run_dir: Path) -> dict[str, Any]:
    """Write doubtful.csv into the directory of a run, and return the values for the report.

    Raises:
        WriteError: the disk is full.
    """
    corrections = problem.config.data.corrections
    earlier = read_corrections(Path(corrections)) if corrections else ()
    tables.write_table(run_dir / tables.DOUBTFUL, tables.doubtful_table(judgement.rows, earlier))
    return tables.labels_to_dict(judgement)


def _by_model(
    problem: Problem, judged: Judged, split: str, outputs: Mapping[str, np.ndarray], gold: list
) -> list[DoubtfulRow]:
    """Return the labels of a split for which the trained model gives another one a higher probability."""
    names = problem.task.known_labels
    scores = scores_of_model(outputs["probabilities"], np.asarray(gold))
    doubtful = scores.doubtful
    if not len(doubtful):
        return []
    given = [
        GivenLabel(record, record.target) for record in problem.splits[split].records_at(np.sort(doubtful).tolist())
    ]
    length = problem.config.encoder.sequence_length
    vectors = record_vectors(problem.encoder, problem.tokenized[split], length, np.sort(doubtful))
    return doubtful_rows(split, given, names, scores.take(np.sort(doubtful)), vectors, judged.train)


def _joined(judgement: Judgement, split: str, rows: list[DoubtfulRow], number: int) -> Judgement:
    """Return a judgement with all labels of another split."""
    return Judgement(
        has_spans=False,
        num_records={**judgement.num_records, split: number},
        num_examined={**judgement.num_examined, split: number},
        num_labels={**judgement.num_labels, split: number},
        num_unjudged=judgement.num_unjudged,
        rows=sorted([*judgement.rows, *rows], key=lambda row: row.score),
        values=judgement.values,
    )
