"""Predictions as JSON: what a model answers for a record, without padding, in values that JSON has."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

import numpy as np

from tfbert.tasks.base import FittedTask
from tfbert.tasks.base_outputs import without_padding
from tfbert.text.inputs import Item
from tfbert.text.records import Record


def prediction_of(outputs: Mapping[str, np.ndarray], index: int) -> dict[str, Any]:
    """Return the outputs for one item, ready for JSON.

    Args:
        outputs: by name, with the item first.
        index: the item's position.
    """
    return {name: _plain(values[index]) for name, values in sorted(outputs.items())}


def write_predictions(
    stream: TextIO, task: FittedTask, split: str, records: Iterable[Record], outputs: Mapping[str, np.ndarray]
) -> None:
    """Write one JSON line for each record of a split: `split`, `id`, `gold` and `outputs`.

    Args:
        stream: open for writing.
        task: the fitted task.
        split: the name of the split.
        records: of the split, in order.
        outputs: of these records, by name, with the record first.
    """
    definition = task.definition
    for index, record in enumerate(records):
        item: Item = task.inputs_of(record)
        answer = without_padding(item, prediction_of(outputs, index))
        line = {"split": split, "id": record.where, "gold": definition.truth_of(record), "outputs": answer}
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def _plain(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    # A float32 printed as a double shows digits it does not have.
    if isinstance(value, np.floating):
        return float(f"{value:.6g}")
    return [_plain(each) for each in value] if isinstance(value, np.ndarray) else value.item()
