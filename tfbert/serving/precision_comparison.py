"""Comparison of a float32 model with its export in lower precision (bfloat16 or 8 bits) on the data of the run."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from tfbert.models.data import data_path, load_task_splits, tokenize_split
from tfbert.models.predictor import Predictor
from tfbert.models.saved_run import SavedRun
from tfbert.text.datasets import TokenizedSplit
from tfbert.text.preprocessor import dense_batch
from tfbert.text.splits import Split

# Sequences to compare, spread evenly over the split.
_MAX_SEQUENCES = 500

# From `token_ids`, `segment_ids` and `padding_mask`, int32 `(1, length)`, and features, to outputs by name, sequence
# first.
PredictSequence = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def compare(run: SavedRun, predict: PredictSequence, length: int = 0) -> dict:
    """Compare the outputs of a run's float32 model and of a model in lower precision on the same sequences.

    Args:
        run: a finished float32 run whose data files still exist.
        predict: the model in lower precision.
        length: shorter sequences are padded to this number of tokens; 0 for no padding.

    Returns:
        `split`; `num_rows`, the number of sequences compared; `outputs`: for each output name `equal_fraction`, or for
        floats `largest_difference` and `mean_difference`; and, if each record is one sequence, `metric` with its values
        `float32` and `narrow`.

    Raises:
        ValueError: the data files are missing, or there is neither a test nor a validation split.
    """
    split_name, split, tokenized = _comparison_split(run)
    num_sequences = tokenized.num_sequences
    indices = np.unique(np.linspace(0, num_sequences - 1, min(_MAX_SEQUENCES, num_sequences)).astype(int)).tolist()
    sequences = [_inputs(tokenized, index, length) for index in indices]
    exact_predict = sequence_predictor(run.predictor)
    predictions = [exact_predict(inputs) for inputs in sequences] + [predict(inputs) for inputs in sequences]
    exact, narrow = {}, {}
    for name in predictions[0]:
        values = _stacked([outputs[name] for outputs in predictions])
        exact[name], narrow[name] = values[: len(sequences)], values[len(sequences) :]
    differences = {name: _difference(narrow[name], values) for name, values in exact.items()}
    compared: dict = {"split": split_name, "num_rows": len(indices), "outputs": differences}
    task = run.task
    if task.predicts_by_sequence and num_sequences == len(tokenized.num_tokens):
        gold = [task.gold(record) for record in split.records_at(indices)]
        compared["metric"] = task.monitor.name
        for precision, outputs in (("float32", exact), ("narrow", narrow)):
            evaluation = task.evaluate(outputs, gold, run.predictor.decided_values())
            compared[precision] = float(evaluation.values()[task.monitor.name])
    return compared


def describe(compared: dict) -> str:
    """Return the result of `compare` in one line."""
    phrases = [f"on {compared['num_rows']} sequences of {compared['split']}"]
    for name, difference in compared["outputs"].items():
        if "equal_fraction" in difference:
            phrases.append(f"{name} equal in {100 * difference['equal_fraction']:.1f} %")
        else:
            phrases.append(f"{name} off by at most {difference['largest_difference']:.2g}")
    if "metric" in compared:
        phrases.append(f"{compared['metric']} {compared['float32']:.4f} in float32 and {compared['narrow']:.4f} here")
    return ", ".join(phrases)


def numeric_outputs(predictor: Predictor) -> Callable[[Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """Return a graph function of packed sequences without string outputs, which repeat numeric ones."""

    def predict(packed: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs = predictor.predict_sequences(packed)
        return {name: value for name, value in outputs.items() if value.dtype != tf.string}

    return predict


def sequence_predictor(predictor: Predictor) -> PredictSequence:
    """Return a function that predicts packed sequences, without string outputs."""
    predict = tf.function(numeric_outputs(predictor), input_signature=[predictor.sequence_specs], autograph=False)

    def predict_arrays(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = {name: tf.constant(values) for name, values in inputs.items()}
        return {name: value.numpy() for name, value in predict(tensors).items()}

    return predict_arrays


def _comparison_split(run: SavedRun) -> tuple[str, Split, TokenizedSplit]:
    config = run.config
    splits = load_task_splits(config, run.task.definition)
    name = next((name for name in ("test", "validation") if name in splits), None)
    if name is None:
        raise ValueError(f"{data_path(config)}: has neither a test nor a validation split to compare on")
    return name, splits[name], tokenize_split(splits[name], run.task, run.predictor.tokenizer, config)


def _inputs(split: TokenizedSplit, index: int, length: int) -> dict[str, np.ndarray]:
    ids = split.sequences[index].astype(np.int32)
    sequence = tf.RaggedTensor.from_row_lengths(ids, [len(ids)])
    starts = tf.constant(split.second_starts[[index]])
    dense = dense_batch(sequence, starts, split.special.padding, max(length, len(ids)))
    features = {name: values[[index]] for name, values in split.features.items()}
    return {name: values.numpy() for name, values in dense.items()} | features


def _stacked(outputs: list) -> np.ndarray:
    """Return outputs `(1, ...)` as one array, padded with 0, as some outputs are as wide as their sequence."""
    arrays = [np.asarray(output) for output in outputs]
    shape = np.max([array.shape for array in arrays], axis=0)
    return np.concatenate([np.pad(array, [(0, size) for size in shape - array.shape]) for array in arrays])


def _difference(narrow: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    if exact.dtype.kind == "f":
        difference = np.abs(narrow - exact)
        return {"largest_difference": float(difference.max()), "mean_difference": float(difference.mean())}
    same = (narrow == exact).reshape(len(exact), -1).all(axis=1)
    return {"equal_fraction": float(same.mean())}
