"""Comparison of a model in float32 with one of fewer bits, on the data of its run."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from tfbert.models.data import data_path, tokenize_split
from tfbert.models.predictor import Predictor
from tfbert.models.saved_run import SavedRun
from tfbert.text.datasets import TokenizedSplit
from tfbert.text.preprocessor import INPUTS, dense_batch
from tfbert.text.splits import Split, load_splits

# Compared, from all of the split.
_MOST_ROWS = 500

# From `token_ids`, `segment_ids` and `padding_mask`, int32 `(1, length)`, to outputs by name, row first.
Ask = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def compare(run: SavedRun, ask: Ask, length: int = 0) -> dict:
    """Ask a run's model and one with fewer bits about the same rows.

    Args:
        run: float32, whose data are where they were.
        ask: asks the other one.
        length: up to which rows are filled with [PAD], those that are shorter.

    Returns:
        `split`, and `num_rows` of it that were compared, from all of it; `outputs`, by name: `equal_fraction`, of
        rows, or of floats `largest_difference` and `mean_difference`; and where a row is a record, `metric` with its
        values `float32` and `narrow`.

    Raises:
        ValueError: the data are gone, or have no split to compare on.
    """
    name, split, tokenized = _split(run)
    num_rows = tokenized.num_sequences
    indices = np.unique(np.linspace(0, num_rows - 1, min(_MOST_ROWS, num_rows)).astype(int)).tolist()
    rows = [_row(tokenized, index, length) for index in indices]
    exact_ask = by_sequences(run.predictor)
    answers = [exact_ask(row) for row in rows] + [ask(row) for row in rows]
    exact, found = {}, {}
    for output in answers[0]:
        both = _stacked([answer[output] for answer in answers])
        exact[output], found[output] = both[: len(rows)], both[len(rows) :]
    outputs = {output: _difference(found[output], values) for output, values in exact.items()}
    compared: dict = {"split": name, "num_rows": len(indices), "outputs": outputs}
    task = run.task
    if task.predicts_by_sequence and num_rows == len(tokenized.num_tokens):
        gold = [task.gold(record) for record in split.records_at(indices)]
        compared["metric"] = task.monitor.name
        for name, outputs in (("float32", exact), ("narrow", found)):
            evaluation = task.evaluate(outputs, gold, run.predictor.decided_values())
            compared[name] = float(evaluation.values()[task.monitor.name])
    return compared


def said(compared: dict) -> str:
    """Return in a line what `compare` found."""
    parts = [f"on {compared['num_rows']} rows of {compared['split']}"]
    for name, found in compared["outputs"].items():
        if "equal_fraction" in found:
            parts.append(f"{name} equal in {100 * found['equal_fraction']:.1f} %")
        else:
            parts.append(f"{name} off by {found['largest_difference']:.2g} at most")
    if "metric" in compared:
        parts.append(f"{compared['metric']} {compared['float32']:.4f} in float32 and {compared['narrow']:.4f} here")
    return ", ".join(parts)


def by_sequences(predictor: Predictor) -> Ask:
    """Return what asks a model about rows, without the outputs that are texts: numbers say the same."""
    matrix = [tf.TensorSpec([None, None], tf.int32, name=name) for name in INPUTS]
    answer = tf.function(predictor.predict_sequences, input_signature=matrix, autograph=False)

    def ask(row: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers = answer(*(tf.constant(row[name]) for name in INPUTS))
        return {name: value.numpy() for name, value in answers.items() if value.dtype != tf.string}

    return ask


def _split(run: SavedRun) -> tuple[str, Split, TokenizedSplit]:
    config = run.config
    splits = load_splits(config.data, data_path(config), run.task.definition.schema)
    name = next((name for name in ("test", "validation") if name in splits), None)
    if name is None:
        raise ValueError(f"{data_path(config)}: has neither test nor validation; wanted one to compare on")
    return name, splits[name], tokenize_split(splits[name], run.task, run.predictor.tokenizer, config)


def _row(split: TokenizedSplit, index: int, length: int) -> dict[str, np.ndarray]:
    ids = split.sequences[index].astype(np.int32)
    row = tf.RaggedTensor.from_row_lengths(ids, [len(ids)])
    dense = dense_batch(row, tf.constant(split.second_starts[[index]]), split.special.padding, max(length, len(ids)))
    return {name: values.numpy() for name, values in dense.items()}


def _stacked(rows: list) -> np.ndarray:
    """Return rows `(1, ...)` as one array; some outputs are as wide as a row needs."""
    arrays = [np.asarray(row) for row in rows]
    shape = np.max([array.shape for array in arrays], axis=0)
    return np.concatenate([np.pad(array, [(0, size) for size in shape - array.shape]) for array in arrays])


def _difference(found: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    if exact.dtype.kind == "f":
        difference = np.abs(found - exact)
        return {"largest_difference": float(difference.max()), "mean_difference": float(difference.mean())}
    same = (found == exact).reshape(len(exact), -1).all(axis=1)
    return {"equal_fraction": float(same.mean())}
