"""Verification of exports: correct ones pass, and differences and missing parts are reported."""

import re

import pytest
import tensorflow as tf

from tfbert.serving import verify as verifying
from tfbert.serving.verify import check, verify
from tfbert.serving.warmup import write_warmup
from tfbert.text.inputs import Text, specs_of


def test_a_correct_export_passes_in_a_fresh_process(version_dir, finished, expected):
    checked = verify(version_dir, finished.samples, expected)
    assert checked["num_items"] == len(finished.samples) == 8
    assert checked["max_difference"] < 1e-5
    assert checked["warmup_requests"] == 3
    assert checked["oldest_serving_release"] == "2.12.1"


def test_a_failure_in_the_fresh_process_is_reported(version_dir, finished, expected):
    wrong = expected | {"label": [*expected["label"][:-1], "elsewhere"]}
    with pytest.raises(RuntimeError, match=r"failed verification: label, value 7: .*, expected 'elsewhere'"):
        verify(version_dir, finished.samples, wrong)


def test_a_process_without_output_is_reported(version_dir, monkeypatch):
    result = verifying.subprocess.CompletedProcess([], -11, "", "")
    monkeypatch.setattr(verifying.subprocess, "run", lambda *_, **__: result)
    with pytest.raises(RuntimeError, match="failed verification: the process ended with exit code -11"):
        verify(version_dir, [], {})


def test_changed_number(version_dir, finished, expected):
    probabilities = [list(row) for row in expected["probabilities"]]
    probabilities[3][1] += 0.001
    with pytest.raises(
        RuntimeError, match=re.escape("probabilities differs from the trained model's by 0.001; expected")
    ):
        check(version_dir, finished.samples, expected | {"probabilities": probabilities})


def test_nan(version_dir, finished, expected):
    probabilities = [[float("nan")] * 3, *expected["probabilities"][1:]]
    with pytest.raises(RuntimeError, match="probabilities differs from the trained model's by nan"):
        check(version_dir, finished.samples, expected | {"probabilities": probabilities})


def test_nan_in_the_response_to_a_warmup_request(tmp_path):
    path = save(lambda text: {"length": tf.math.log(-tf.ones(tf.shape(text)))}, tmp_path / "model")
    write_warmup(path, [{"text": "a"}], specs_of([Text("text")]))
    with pytest.raises(RuntimeError, match="serving_default: length has a value that is NaN or infinite"):
        check(path, [], {})


def test_missing_warmup(copied):
    (copied / "assets.extra" / "tf_serving_warmup_requests").unlink()
    with pytest.raises(Exception, match="tf_serving_warmup_requests"):
        check(copied, [], {})


def save(function, path):
    module = tf.Module()
    module.function = tf.function(function, input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.function})
    return path


def test_a_graph_that_calls_python(tmp_path):
    def call(text):
        upper = tf.py_function(lambda value: tf.strings.upper(value), [text], tf.string)
        return {"label": tf.ensure_shape(upper, [None])}

    with pytest.raises(
        RuntimeError, match="no stock server runs EagerPyFunc, which calls back into the Python process"
    ):
        check(save(call, tmp_path / "model"), [], {})


def test_a_graph_with_a_compiled_function(tmp_path):
    @tf.function(jit_compile=True)
    def doubled(numbers):
        return numbers * 2

    def call(text):
        return {"length": doubled(tf.strings.length(text))}

    with pytest.raises(RuntimeError, match=r"no stock server runs .*doubled.*, marked for XLA \(jit_compile\)"):
        check(save(call, tmp_path / "model"), [], {})
