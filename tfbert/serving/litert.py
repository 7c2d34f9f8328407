"""A finished run in, a LiteRT model for devices out: token ids in, answers out, weights in 8 bits."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfbert.files import replaced, write_json
from tfbert.tasks.base import load_task
from tfbert.tasks.base_pooled import PooledTask
from tfbert.text.datasets import TokenizedSplit
from tfbert.text.packing import INPUTS, pad_rows
from tfbert.text.splits import Split, load_splits
from tfbert.training.answering import Answering
from tfbert.training.finished import FinishedRun, load_run
from tfbert.training.problem import data_path, tokenize_split

MODEL, FACTS, VOCABULARY = "model.tflite", "litert.json", "vocabulary.txt"
_RULES = ("lowercase", "strip_accents", "split_on_cjk")  # of the tokenizer
# Compared with the model in float32, from all of the split.
_MOST_ROWS = 500

Ask = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def export_litert(run_dir: Path, directory: Path) -> dict:
    """Write `model.tflite`, which answers as the signature `token_ids` does, and what is needed around it.

    It takes one row of `encoder.sequence_length` tokens at a time, filled up with [PAD], and answers by numbers: what
    they stand for is among the task's facts in `litert.json`. Matrices are stored in 8 bits and multiplied as such;
    what flows between them is float32. `litert.json` also has the tokenizer's rules, and what 8 bits changed on the
    run's test split (validation, where there is no test).

    Args:
        run_dir: of a finished run, whose data are where they were.
        directory: new or empty, or one that was written so before, which is replaced.

    Returns:
        What `litert.json` holds.

    Raises:
        ValueError: there is no finished run, its data are gone or have no split to compare on, LiteRT is not installed,
            or the directory holds something else.

    Source: TensorFlow's guide "Post-training quantization", dynamic range.
    """
    _interpreter_class()
    run = load_run(run_dir)
    tokenizer = run.answering.tokenizer
    with replaced(directory, {MODEL, FACTS, VOCABULARY}, "a LiteRT model") as aside:
        module = _Module(run.answering, run.config.encoder.sequence_length)
        content = _converted(module)
        facts = {
            "task": run.config.task,
            "facts": run.facts,
            "sequence_length": run.config.encoder.sequence_length,
            "tokenizer": {name: getattr(tokenizer, name) for name in _RULES},
            "inputs": list(INPUTS),
            "bytes": len(content),
            "compared": _compared(run, module.answer_row, reader(content)),
        }
        (aside / MODEL).write_bytes(content)
        (aside / VOCABULARY).write_text("".join(f"{token}\n" for token in tokenizer.vocabulary), encoding="utf-8")
        write_json(aside / FACTS, facts)
    return facts


def summary(facts: dict) -> str:
    """Return in a line what `export_litert` found."""
    compared = facts["compared"]
    parts = [f"{facts['bytes'] / 2**20:.1f} MiB; on {compared['num_rows']} rows of {compared['split']}"]
    for name, found in compared["outputs"].items():
        if "equal_fraction" in found:
            parts.append(f"{name} equal in {100 * found['equal_fraction']:.1f} %")
        else:
            parts.append(f"{name} off by {found['largest_difference']:.2g} at most")
    if "metric" in compared:
        parts.append(f"{compared['metric']} {compared['float32']:.4f} in float32 and {compared['int8']:.4f} here")
    return ", ".join(parts)


def reader(content: bytes, num_threads: int = 1) -> Ask:
    """Return what answers a row with a LiteRT model.

    Args:
        content: of the file.
        num_threads: of one row.

    Returns:
        From `token_ids`, `segment_ids` and `padding_mask`, int32 `(1, sequence_length)`, to outputs by name, row first.

    Raises:
        ValueError: LiteRT is not installed.
    """
    interpreter = _interpreter_class()(model_content=content, num_threads=num_threads)
    runner = interpreter.get_signature_runner()
    return lambda row: runner(**{name: row[name] for name in INPUTS})


def _interpreter_class():
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise ValueError("LiteRT is not installed; wanted pip install 'tfbert[litert]'") from None
    return Interpreter


class _Module(tf.Module):
    """Owns the weights, so that the converter finds them."""

    def __init__(self, answering: Answering, length: int):
        super().__init__()
        self.weights = [weight.value for weight in answering.model.weights]
        row = [tf.TensorSpec([1, length], tf.int32, name=name) for name in INPUTS]
        self.answer_row = tf.function(_Numbers(answering), input_signature=row, autograph=False)


class _Numbers:
    """Answers rows by numbers alone: LiteRT cannot choose among texts."""

    def __init__(self, answering: Answering):
        self._answering = answering

    def __call__(self, token_ids: tf.Tensor, segment_ids: tf.Tensor, padding_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        answers = self._answering.answer_rows(token_ids, segment_ids, padding_mask)
        return {name: value for name, value in answers.items() if value.dtype != tf.string}


def _converted(module: _Module) -> bytes:
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.answer_row.get_concrete_function()], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


def _compared(run: FinishedRun, answer_row: Callable, ask: Ask) -> dict:
    """Return what 8 bits change of each output, and of the scores where rows are records."""
    name, split, tokenized = _split(run)
    num_rows = len(tokenized.starts) - 1
    indices = np.unique(np.linspace(0, num_rows - 1, min(_MOST_ROWS, num_rows)).astype(int)).tolist()
    rows = [_row(tokenized, index, run.config.encoder.sequence_length) for index in indices]
    answers = [answer_row(*(tf.constant(row[name]) for name in INPUTS)) for row in rows] + [ask(row) for row in rows]
    exact, found = {}, {}
    for output in answers[0]:
        both = _stacked([answer[output] for answer in answers])
        exact[output], found[output] = both[: len(rows)], both[len(rows) :]
    outputs = {output: _difference(found[output], values) for output, values in exact.items()}
    compared: dict = {"split": name, "num_rows": len(indices), "outputs": outputs}
    task = run.answering.task
    if isinstance(task, PooledTask) and num_rows == len(tokenized.num_tokens):
        gold = [task.gold_of(record, run.facts) for record in split.records_at(indices)]
        compared["metric"] = task.monitor_of(run.facts)
        for way, answers in (("float32", exact), ("int8", found)):
            compared[way] = float(task.quick_scores(answers, gold, run.facts)[compared["metric"]])
    return compared


def _split(run: FinishedRun) -> tuple[str, Split, TokenizedSplit]:
    config = run.config
    task = load_task(config.task)
    splits = load_splits(config.data, data_path(config, task), task.schema)
    name = next((name for name in ("test", "validation") if name in splits), None)
    if name is None:
        raise ValueError(f"{data_path(config, task)}: has neither test nor validation; wanted one to compare on")
    return name, splits[name], tokenize_split(splits[name], task, run.facts, run.answering.tokenizer, config)


def _row(split: TokenizedSplit, index: int, length: int) -> dict[str, np.ndarray]:
    padded = pad_rows([split.row(index)], split.seconds[[index]], split.special.padding, length)
    missing = length - padded["token_ids"].shape[1]
    filling = {"token_ids": split.special.padding}
    return {
        name: np.pad(padded[name], ((0, 0), (0, missing)), constant_values=filling.get(name, 0)).astype(np.int32)
        for name in INPUTS
    }


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
