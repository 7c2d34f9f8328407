"""Systems to compare, made without training: labels of records, as predicted by models that are right on some."""

import dataclasses
from pathlib import Path

import numpy as np

from tfbert.comparison.systems import System, Training
from tfbert.config import Config, override
from tfbert.tasks.classification import ClassificationOptions, FittedClassification
from tfbert.text.records import Record

LABELS = ("card", "fee", "loan")


def labelled_records(count, first=0):
    """Return records with the labels in turn, all with different texts."""
    return [Record(f"text {i}", LABELS[i % len(LABELS)], f"test.csv:{i + 2}") for i in range(first, first + count)]


def system(name, *is_right, labels=LABELS, records=None, **values):
    """Return a system that predicts the next label where it is not right.

    Args:
        name: of the system.
        is_right: for each training, whether it is right on each record, bool `(records,)`.
        labels: of the model.
        records: the labelled records; by default `labelled_records` of the needed number.
        values: config paths with `__` instead of the dot.
    """
    records = labelled_records(len(is_right[0])) if records is None else records
    gold = np.asarray([labels.index(record.target) for record in records])
    trainings = []
    for right in is_right:
        ids = np.where(right, gold, (gold + 1) % len(labels))
        probabilities = np.full((len(records), len(labels)), 0.1 / (len(labels) - 1), np.float32)
        probabilities[np.arange(len(records)), ids] = 0.9
        trainings.append(Training({"label_id": ids, "probabilities": probabilities}, {}))
    return System(
        name=name,
        path=Path(f"runs/{name}"),
        config=override(Config(), {path.replace("__", "."): value for path, value in values.items()}),
        task=FittedClassification(options=ClassificationOptions(), has_pair=False, labels=labels),
        records=records,
        trainings=trainings,
        num_seeds=len(trainings),
    )


def right_except(count, *wrong):
    """Return whether a model is right on each of `count` records that is wrong on those with the given indices."""
    is_right = np.ones(count, bool)
    is_right[list(wrong)] = False
    return is_right


def replaced(original, **changes):
    """Return a system with changed fields."""
    return dataclasses.replace(original, **changes)
