"""A checkpoint is what was written, or it is refused as damaged."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from tfbert.files import WriteError
from tfbert.models import weights
from tfbert.training import checkpoint
from tfbert.training.checkpoint import BEST, CHECKPOINT

ARRAYS = {
    "model/kernel": np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
    "optimizer/step": np.asarray(3, np.int64),
    "empty": np.zeros((0, 2), np.float16),
}
STATE = {"identity": "mine", "progress": {"losses": [[1, 0.1, float("nan")]], "name": "é"}}


def flip(path, array, bit=0x40):
    """Flip one bit of an array's bytes in a file."""
    content = bytearray(path.read_bytes())
    place = content.find(array.tobytes())
    assert place > 0
    content[place + 3] ^= bit  # of the exponent, in a little-endian float32
    path.write_bytes(content)


def test_what_is_saved_is_loaded(tmp_path):
    weights.save(tmp_path / "a", ARRAYS, STATE)
    arrays, state = weights.load(tmp_path / "a")
    assert arrays.keys() == ARRAYS.keys() and json.dumps(state) == json.dumps(STATE)
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(arrays[name], array)
    weights.save(tmp_path / "b", ARRAYS, STATE)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_flipped_bit_is_damage(tmp_path):
    path = tmp_path / CHECKPOINT
    weights.save(path, ARRAYS, STATE)
    flip(path, ARRAYS["model/kernel"])
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors: damaged: .*remove it to start over"):
        weights.load(path)


def test_a_changed_state_is_damage(tmp_path):
    path = tmp_path / CHECKPOINT
    weights.save(path, ARRAYS, STATE)
    path.write_bytes(path.read_bytes().replace(b"0.1,", b"0.2,"))
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors: damaged"):
        weights.load(path)


def test_files_of_versions_without_checksums_are_loaded(tmp_path):
    save_file(ARRAYS, tmp_path / "old", metadata={"state": json.dumps(STATE)})
    arrays, state = weights.load(tmp_path / "old")
    np.testing.assert_array_equal(arrays["model/kernel"], ARRAYS["model/kernel"])
    assert state["identity"] == "mine"


def test_damaged_best_weights_are_told_when_they_are_loaded_and_when_training_goes_on(tmp_path):
    checkpoints = checkpoint.Checkpoints(tmp_path, "mine", 0)
    checkpoints.keep_best({"model/kernel": ARRAYS["model/kernel"]})
    checkpoints.save(ARRAYS, STATE["progress"])
    assert checkpoints.resume()[1]["name"] == "é"
    flip(tmp_path / BEST, ARRAYS["model/kernel"])
    with pytest.raises(ValueError, match=r"best\.safetensors: damaged: .*restore it from a copy, or train again"):
        weights.load_best(tmp_path)
    with pytest.raises(ValueError, match=r"best\.safetensors: damaged: .*remove it and checkpoint.safetensors"):
        checkpoints.resume()


def test_a_checkpoint_of_another_version_is_refused(tmp_path):
    checkpoints = checkpoint.Checkpoints(tmp_path, "mine", 0)
    weights.save(tmp_path / CHECKPOINT, ARRAYS, STATE | {"identity": "mine"})
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors: was written by another version.*remove it"):
        checkpoints.resume()
    weights.save(tmp_path / CHECKPOINT, ARRAYS, STATE | {"identity": "yours"})
    with pytest.raises(ValueError, match="belongs to another run"):
        checkpoints.resume()


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / CHECKPOINT
    weights.save(path, ARRAYS, STATE)
    before = path.read_bytes()

    class SafetensorError(Exception):
        pass

    def save_file(arrays, aside, metadata):
        aside.write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(weights, "save_file", save_file)
    with pytest.raises(WriteError, match=r"checkpoint\.safetensors: cannot be written: the disk is full"):
        weights.save(path, ARRAYS, {})
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == [CHECKPOINT]
