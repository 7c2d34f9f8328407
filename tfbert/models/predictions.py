"""Predictions as JSON: the outputs for an item as JSON values, and the predictions file of a run."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from tfbert.tasks.base_outputs import Outputs, without_padding
from tfbert.text.inputs import Item, rough_lengths
from tfbert.text.records import Record

if TYPE_CHECKING:  # It imports Keras, but SavedModels are used without Keras.
    from tfbert.tasks.base import FittedTask


def prediction_of(outputs: Mapping[str, np.ndarray], index: int) -> dict[str, Any]:
    """Return the outputs for one item as JSON values.

    Args:
        outputs: arrays by name, item first.
        index: the position of the item.
    """
    return {name: _json_value(values[index]) for name, values in sorted(outputs.items())}


def predict_items(
    predict: Callable[[Sequence[Item]], Mapping[str, np.ndarray]],
    outputs: Outputs,
    items: Iterable[Item],
    batch_size: int = 64,
    num_pooled: int = 1,
) -> Iterator[tuple[Item, dict[str, Any]]]:
    """Yield each item with its prediction, ready for JSON and without padding, in order.

    Args:
        predict: returns the served outputs for a batch of items: arrays by name, item first.
        outputs: the declared outputs of the model.
        items: any number; read lazily.
        batch_size: number of items per call of `predict`.
        num_pooled: number of batches that are read together to group items of similar length.
    """
    stream = iter(items)
    while pool := list(itertools.islice(stream, num_pooled * batch_size)):
        order = np.argsort(-rough_lengths(pool), kind="stable").tolist()
        predictions: list[dict] = [{}] * len(pool)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            arrays = predict([pool[index] for index in batch])
            for position, index in enumerate(batch):
                predictions[index] = prediction_of(arrays, position)
        for item, prediction in zip(pool, predictions, strict=True):
            yield item, without_padding(outputs, item, prediction)


def write_predictions(
    stream: TextIO, task: "FittedTask", split: str, records: Iterable[Record], outputs: Mapping[str, np.ndarray]
) -> None:
    """Write a JSON line for each record of a split, with `split`, `id`, `gold` and `outputs`.

    Args:
        stream: open for writing.
        task: the fitted task.
        split: the name of the split.
        records: the records of the split, in order.
        outputs: arrays by name for these records, record first.
    """
    definition = task.definition
    for index, record in enumerate(records):
        prediction = without_padding(task.outputs, task.inputs_of(record), prediction_of(outputs, index))
        line = {"split": split, "id": record.where, "gold": definition.truth_of(record), "outputs": prediction}
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_predictions(path: Path, split: str, outputs: Outputs) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the predictions for a split that `write_predictions` wrote.

    Args:
        path: the predictions file.
        split: the name of the split.
        outputs: the declared outputs of the task.

    Returns:
        The outputs as arrays by name, record first, padded like those of a predictor; and the `id` of each record.

    Raises:
        ValueError: the file is missing or damaged.
    """
    try:
        # Texts may contain other line separators.
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        lines = [line for line in lines if line["split"] == split]
        arrays = {
            output.name: _array(output.dtype, [line["outputs"][output.name] for line in lines]) for output in outputs
        }
        return arrays, [line["id"] for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); expected the predictions of a finished run") from error


def _array(dtype: str, values: Sequence[Any]) -> np.ndarray:
    """Return the values of an output, padded to the same length if they are lists, as an array."""
    padding = {"string": b"", "int32": -1}.get(dtype, 0)
    if dtype == "string":
        values = [[v.encode() for v in value] if isinstance(value, list) else value.encode() for value in values]
    if values and isinstance(values[0], list):
        width = max(1, *map(len, values))
        values = [value + [padding] * (width - len(value)) for value in values]
    return np.array(values, object if dtype == "string" else dtype)


def _json_value(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    # Printed as a double, a float32 would show digits that it does not have.
    if isinstance(value, np.floating):
        return float(f"{value:.6g}")
    return [_json_value(item) for item in value] if isinstance(value, np.ndarray) else value.item()
