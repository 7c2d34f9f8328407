"""Variables of a model: they are loaded from the run directory as they were saved, strings of any bytes included."""

import numpy as np
import pytest
import tensorflow as tf

from tfbert.models import variables

SPECS = {
    "vectors": tf.TensorSpec([None, 3], tf.float32),
    "entries": tf.TensorSpec([None], tf.int32),
    "texts": tf.TensorSpec([None], tf.string),
    "threshold": tf.TensorSpec([], tf.float32),
}


def saved_variables(num_rows, texts):
    values = {
        "vectors": np.arange(3 * num_rows, dtype=np.float32).reshape(num_rows, 3),
        "entries": np.arange(num_rows, dtype=np.int32),
        "texts": tf.constant(texts, tf.string, shape=[len(texts)]),
        "threshold": np.float32(0.25),
    }
    result = variables.empty_variables(SPECS)
    for name, value in values.items():
        result[name].assign(value)
    return result


def test_empty_variables_have_size_0_and_take_any_size():
    empty = variables.empty_variables(SPECS)
    assert {name: variable.numpy().shape for name, variable in empty.items()} == {
        "vectors": (0, 3), "entries": (0,), "texts": (0,), "threshold": (),
    }  # fmt: skip
    assert not any(variable.trainable for variable in empty.values())
    empty["vectors"].assign(np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match="shape"):
        empty["vectors"].assign(np.ones((2, 4), np.float32))


@pytest.mark.parametrize("texts", [[], [b"", b"a\x00", "é\n".encode(), b"", b"\xff", b""]])
def test_saved_variables_are_loaded(tmp_path, texts):
    saved, loaded = saved_variables(5, texts), saved_variables(1, [b"old"])
    variables.save(tmp_path, saved)
    variables.load(tmp_path, loaded)
    for name, variable in saved.items():
        assert loaded[name].numpy().tolist() == variable.numpy().tolist()
        assert loaded[name].dtype == variable.dtype


def test_without_variables_there_is_no_file(tmp_path):
    variables.save(tmp_path, {})
    assert not list(tmp_path.iterdir())
    variables.load(tmp_path, {})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"variables.safetensors: not a tfbert checkpoint .*; restore it from a copy"):
        variables.load(tmp_path, saved_variables(1, []))
