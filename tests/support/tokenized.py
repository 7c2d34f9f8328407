"""Records as a fitted task learns them: tokenized in a directory that is gone afterwards."""

import tempfile
from pathlib import Path

from tfbert.text.datasets import Recipe, tokenize


def recipe_of(task, preprocessor, key=("train",)):
    """Return how the records of a split become sequences and targets of a task."""
    return Recipe(
        preprocessor=preprocessor,
        inputs_of=task.inputs_of,
        sequences=lambda inputs: task.sequences(inputs, preprocessor),
        targets_of=task.targets_of,
        targets=task.targets,
        by_record=task.by_record,
        key=list(key),
    )


def tokenized(task, records, preprocessor):
    """Return the `TokenizedSplit` of records."""
    with tempfile.TemporaryDirectory() as directory:
        return tokenize(records, recipe_of(task, preprocessor), Path(directory))


def remarks_of(split):
    """Return the remarks on the records of a split, each as often as it was made."""
    return [remark for remark, places in split.remarks.items() for _ in places]
