"""Variables of an index or a decision come back from the run directory as they were: numbers, strings of any bytes."""

import numpy as np
import pytest
import tensorflow as tf

from tfbert.models import variables as stored


def variables(rows, texts):
    return {
        "vectors": tf.Variable(np.arange(3 * rows, dtype=np.float32).reshape(rows, 3), shape=[None, None]),
        "entries": tf.Variable(np.arange(rows, dtype=np.int32), shape=[None]),
        "texts": tf.Variable(tf.constant(texts, tf.string, shape=[len(texts)]), shape=[None]),
    }


@pytest.mark.parametrize("texts", [[], [b"", b"a\x00", "é\n".encode(), b"", b"\xff", b""]])
def test_saved_and_loaded(tmp_path, texts):
    saved, empty = variables(5, texts), variables(0, [b"old"])
    stored.save(tmp_path, saved)
    stored.load(tmp_path, empty)
    for name, variable in saved.items():
        assert empty[name].numpy().tolist() == variable.numpy().tolist()
        assert empty[name].dtype == variable.dtype


def test_no_arrays_no_file(tmp_path):
    stored.save(tmp_path, {})
    assert not list(tmp_path.iterdir())
    stored.load(tmp_path, {})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"variables\.safetensors: not a tfbert checkpoint"):
        stored.load(tmp_path, variables(1, []))
