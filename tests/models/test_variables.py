"""Variables beside the weights: saved to the run directory and loaded with the same numbers and strings."""

import numpy as np
import pytest
import tensorflow as tf

from tfbert.models import variables


def example(rows, texts):
    return {
        "vectors": tf.Variable(np.arange(3 * rows, dtype=np.float32).reshape(rows, 3), shape=[None, None]),
        "entries": tf.Variable(np.arange(rows, dtype=np.int32), shape=[None]),
        "texts": tf.Variable(tf.constant(texts, tf.string, shape=[len(texts)]), shape=[None]),
    }


@pytest.mark.parametrize("texts", [[], [b"", b"a\x00", "é\n".encode(), b"", b"\xff", b""]])
def test_saved_and_loaded(tmp_path, texts):
    saved, empty = example(5, texts), example(0, [b"old"])
    variables.save(tmp_path, saved)
    variables.load(tmp_path, empty)
    for name, variable in saved.items():
        assert empty[name].numpy().tolist() == variable.numpy().tolist()
        assert empty[name].dtype == variable.dtype


def test_without_variables_no_file_is_written(tmp_path):
    variables.save(tmp_path, {})
    assert not list(tmp_path.iterdir())
    variables.load(tmp_path, {})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"variables.safetensors: not a tfbert checkpoint"):
        variables.load(tmp_path, example(1, []))


def test_empty_variables_take_values_of_any_size_that_the_spec_allows():
    specs = {"vectors": tf.TensorSpec([None, 3], tf.float32), "texts": tf.TensorSpec([None], tf.string)}
    made = variables.empty_variables(specs)
    assert [made[name].numpy().shape for name in specs] == [(0, 3), (0,)]
    made["vectors"].assign(np.ones((2, 3), np.float32))
    made["texts"].assign([b"a", b"b"])
    assert made["vectors"].numpy().tolist() == [[1, 1, 1]] * 2 and made["texts"].numpy().tolist() == [b"a", b"b"]
    assert not any(variable.trainable for variable in made.values())
