"""Export of a finished run as a LiteRT model for devices, with 8-bit weights: from token ids to numeric outputs."""

from pathlib import Path

import tensorflow as tf

from tfbert.extras import import_library
from tfbert.files import replace_directory, write_json
from tfbert.models.predictor import Predictor
from tfbert.models.saved_run import load_run
from tfbert.serving import precision_comparison
from tfbert.serving.precision_comparison import PredictSequence
from tfbert.text.preprocessor import INPUTS

MODEL, DESCRIPTION, VOCABULARY = "model.tflite", "litert.json", "vocabulary.txt"


def export_litert(run_dir: Path, directory: Path) -> dict:
    """Write `model.tflite`, the counterpart of the signature `token_ids`, with its vocabulary and a description.

    The model takes one sequence of `encoder.sequence_length` tokens at a time, padded with [PAD], and returns numeric
    outputs; the fitted task in `litert.json` explains them. Weight matrices are stored and multiplied in 8 bits;
    activations are float32. `litert.json` also has the tokenizer's rules and the effect of 8-bit weights on the run's
    test split, or on its validation split if there is no test split.

    Args:
        run_dir: the directory of a finished run whose data files still exist.
        directory: a new or empty directory, or an earlier export, which is replaced.

    Returns:
        The content of `litert.json`.

    Raises:
        ValueError: there is no finished run, its data files are missing or have no split to compare on, LiteRT is not
            installed, or the directory contains other files.

    Source: TensorFlow's guide "Post-training quantization", dynamic range.
    """
    _interpreter_class()
    run = load_run(run_dir)
    tokenizer = run.predictor.tokenizer
    with replace_directory(directory, {MODEL, DESCRIPTION, VOCABULARY}, "a LiteRT model") as temporary:
        module = _Module(run.predictor, run.config.encoder.sequence_length)
        content = _converted(module)
        predict = sequence_predictor(content)
        description = {
            "task": run.task.to_json(),
            "sequence_length": run.config.encoder.sequence_length,
            "tokenizer": tokenizer.rules._asdict(),
            "inputs": list(run.predictor.sequence_specs),
            "bytes": len(content),
            "compared": precision_comparison.compare(run, predict, run.config.encoder.sequence_length),
        }
        (temporary / MODEL).write_bytes(content)
        vocabulary = "".join(f"{token}\n" for token in tokenizer.vocabulary)
        (temporary / VOCABULARY).write_text(vocabulary, encoding="utf-8")
        write_json(temporary / DESCRIPTION, description)
    return description


def describe(description: dict) -> str:
    """Return one line about the result of `export_litert`: the size, and the difference from float32."""
    return f"{description['bytes'] / 2**20:.1f} MiB; {precision_comparison.describe(description['compared'])}"


def sequence_predictor(content: bytes, num_threads: int = 1) -> PredictSequence:
    """Return a function that predicts single sequences with a LiteRT model.

    Args:
        content: the content of `model.tflite`.
        num_threads: number of threads for each sequence.

    Returns:
        A function from the model's inputs by name to outputs by name: `token_ids`, `segment_ids` and `padding_mask`,
        int32 `(1, sequence_length)`, and features.

    Raises:
        ValueError: LiteRT is not installed.
    """
    interpreter = _interpreter_class()(model_content=content, num_threads=num_threads)
    runner = interpreter.get_signature_runner()
    return lambda inputs: runner(**inputs)


def _interpreter_class() -> type:
    return import_library("ai_edge_litert.interpreter", "LiteRT models", "litert").Interpreter


class _Module(tf.Module):
    """Holds the weights, so that the converter finds them."""

    def __init__(self, predictor: Predictor, length: int):
        super().__init__()
        self.weights = [weight.value for weight in predictor.model.weights]
        self.decided = [*predictor.decided.values(), *predictor.domain.values()]
        shapes = {name: [1, *spec.shape[1:]] for name, spec in predictor.sequence_specs.items()}
        shapes |= dict.fromkeys(INPUTS, [1, length])
        specs = {name: tf.TensorSpec(shapes[name], spec.dtype, name) for name, spec in predictor.sequence_specs.items()}
        predict = precision_comparison.numeric_outputs(predictor)
        self.predict = tf.function(lambda **packed: predict(packed), autograph=False).get_concrete_function(**specs)


def _converted(module: _Module) -> bytes:
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.predict], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()
