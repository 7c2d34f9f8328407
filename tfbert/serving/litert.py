"""A finished run in, a LiteRT model for devices out: token ids in, answers out, weights in 8 bits."""

from pathlib import Path

import tensorflow as tf

from tfbert.files import replace_directory, write_json
from tfbert.models.predictor import Predictor
from tfbert.models.saved_run import load_run
from tfbert.serving.fidelity import Ask, compare, said
from tfbert.text.preprocessor import INPUTS

MODEL, DESCRIPTION, VOCABULARY = "model.tflite", "litert.json", "vocabulary.txt"
_RULES = ("lowercase", "strip_accents", "split_on_cjk")  # of the tokenizer


def export_litert(run_dir: Path, directory: Path) -> dict:
    """Write `model.tflite`, which answers as the signature `token_ids` does, and what is needed around it.

    It takes one row of `encoder.sequence_length` tokens at a time, filled up with [PAD], and answers by numbers: what
    they stand for is in the fitted task in `litert.json`. Matrices are stored in 8 bits and multiplied as such;
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
    tokenizer = run.predictor.tokenizer
    with replace_directory(directory, {MODEL, DESCRIPTION, VOCABULARY}, "a LiteRT model") as aside:
        module = _Module(run.predictor, run.config.encoder.sequence_length)
        content = _converted(module)
        description = {
            "task": run.task.to_json(),
            "sequence_length": run.config.encoder.sequence_length,
            "tokenizer": {name: getattr(tokenizer, name) for name in _RULES},
            "inputs": list(INPUTS),
            "bytes": len(content),
            "compared": compare(run, reader(content), run.config.encoder.sequence_length),
        }
        (aside / MODEL).write_bytes(content)
        (aside / VOCABULARY).write_text("".join(f"{token}\n" for token in tokenizer.vocabulary), encoding="utf-8")
        write_json(aside / DESCRIPTION, description)
    return description


def summary(description: dict) -> str:
    """Return in a line what `export_litert` found."""
    return f"{description['bytes'] / 2**20:.1f} MiB; {said(description['compared'])}"


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
        raise ValueError("LiteRT is not installed; wanted pip install '.[litert]' in the checkout") from None
    return Interpreter


class _Module(tf.Module):
    """Owns the weights, so that the converter finds them."""

    def __init__(self, predictor: Predictor, length: int):
        super().__init__()
        self.weights = [weight.value for weight in predictor.model.weights]
        self.decided = list(predictor.decided.values())
        row = [tf.TensorSpec([1, length], tf.int32, name=name) for name in INPUTS]
        self.answer_row = tf.function(_Numbers(predictor), input_signature=row, autograph=False)


class _Numbers:
    """Answers rows by numbers alone: LiteRT cannot choose among texts."""

    def __init__(self, predictor: Predictor):
        self._predictor = predictor

    def __call__(self, token_ids: tf.Tensor, segment_ids: tf.Tensor, padding_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = self._predictor.predict_sequences(token_ids, segment_ids, padding_mask)
        return {name: value for name, value in outputs.items() if value.dtype != tf.string}


def _converted(module: _Module) -> bytes:
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.answer_row.get_concrete_function()], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()
