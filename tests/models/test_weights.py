"""Weight files: what is loaded equals what was saved, and damaged files are rejected."""

import json

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from tfbert.files import WriteError
from tfbert.models import weights

ARRAYS = {
    "model/kernel": np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
    "optimizer/step": np.asarray(3, np.int64),
    "empty": np.zeros((0, 2), np.float16),
}
STATE = {"fingerprint": "mine", "progress": {"losses": [[1, 0.1, float("nan")]], "name": "é"}}


def flip(path, array):
    """Flip one bit of an array's bytes in a file."""
    content = bytearray(path.read_bytes())
    position = content.find(array.tobytes())
    assert position > 0
    content[position + 3] ^= 0x40  # a bit of the exponent, in a little-endian float32
    path.write_bytes(content)


def test_saved_arrays_and_state_are_loaded(tmp_path):
    weights.save(tmp_path / "a", ARRAYS, STATE)
    arrays, state = weights.load(tmp_path / "a")
    assert arrays.keys() == ARRAYS.keys() and json.dumps(state) == json.dumps(STATE)
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(arrays[name], array)
    weights.save(tmp_path / "b", ARRAYS, STATE)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_flipped_bit_is_damage(tmp_path):
    path = tmp_path / "a.safetensors"
    weights.save(path, ARRAYS, STATE)
    flip(path, ARRAYS["model/kernel"])
    with pytest.raises(ValueError, match=r"a\.safetensors: damaged: .*\(?SHA-256.*remove it to start over"):
        weights.load(path)


def test_a_changed_state_is_damage(tmp_path):
    path = tmp_path / "a.safetensors"
    weights.save(path, ARRAYS, STATE)
    path.write_bytes(path.read_bytes().replace(b"0.1,", b"0.2,"))
    with pytest.raises(ValueError, match=r"a\.safetensors: damaged"):
        weights.load(path)


def test_another_file_is_rejected_with_advice(tmp_path):
    (tmp_path / "a").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"a: not a tfbert checkpoint \(.*\); ask for help"):
        weights.load(tmp_path / "a", "ask for help")


def test_files_of_versions_without_checksums_are_loaded(tmp_path):
    save_file(ARRAYS, tmp_path / "old", metadata={"state": json.dumps(STATE)})
    arrays, state = weights.load(tmp_path / "old")
    np.testing.assert_array_equal(arrays["model/kernel"], ARRAYS["model/kernel"])
    assert state["fingerprint"] == "mine"


def test_damaged_best_weights_are_rejected(tmp_path):
    weights.save(tmp_path / weights.BEST, {"model/kernel": ARRAYS["model/kernel"]}, {})
    np.testing.assert_array_equal(weights.load_best(tmp_path)["model/kernel"], ARRAYS["model/kernel"])
    flip(tmp_path / weights.BEST, ARRAYS["model/kernel"])
    with pytest.raises(ValueError, match=r"best\.safetensors: damaged: .*restore it from a copy, or train again"):
        weights.load_best(tmp_path)


def test_a_full_disk_leaves_the_existing_file(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    weights.save(path, ARRAYS, STATE)
    before = path.read_bytes()

    class SafetensorError(Exception):
        pass

    def save_file(arrays, temporary, metadata):
        temporary.write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(weights, "save_file", save_file)
    with pytest.raises(WriteError, match=r"a\.safetensors: cannot be written: the disk is full"):
        weights.save(path, ARRAYS, {})
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_incomplete_files_are_removed(tmp_path):
    (tmp_path / "a.safetensors.17.part").write_bytes(b"half")
    weights.save(tmp_path / "a.safetensors", ARRAYS, {})
    weights.remove_temporary_files(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def dense(units):
    layer = keras.layers.Dense(units, name="dense")
    layer.build((None, 2))
    return layer


def test_values_of_variables_are_restored_by_path():
    source, target = dense(3), dense(3)
    arrays = weights.gather("model", source.weights)
    assert list(arrays) == ["model/dense/kernel", "model/dense/bias"]
    weights.scatter("model", target.weights, arrays | {"optimizer/step": np.int64(3)})
    np.testing.assert_array_equal(target.kernel, source.kernel)
    weights.scatter("model", target.weights[::-1], {name: 2 * array for name, array in arrays.items()})
    np.testing.assert_array_equal(target.kernel, 2 * source.kernel)
    with pytest.raises(ValueError, match="first difference: 'model/dense/bias'"):
        weights.scatter("model", target.weights[:1], arrays)


def test_variables_with_equal_paths_are_restored_in_their_order():
    dropouts = [keras.layers.Dropout(0.5, seed=seed) for seed in (3, 4)]
    arrays = weights.gather("model", [variable for layer in dropouts for variable in layer.variables])
    assert len(arrays) == 2 and [name.rpartition(":")[2] for name in arrays] == ["0", "1"]
    assert [array[0] for array in arrays.values()] == [3, 4]


def test_numbers_that_keras_gives_to_optimizers_are_ignored():
    first, second = keras.optimizers.Adam(name="adam_w_1"), keras.optimizers.Adam(name="adam_w_7")
    for optimizer in (first, second):
        optimizer.build(dense(3).weights)
    first.iterations.assign(5)
    weights.scatter("optimizer", second.variables, weights.gather("optimizer", first.variables))
    assert int(second.iterations) == 5
