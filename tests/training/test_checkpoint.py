"""Checkpoints of a training: they are resumed as they were saved, or rejected if damaged or from another run."""

import numpy as np
import pytest

from tfbert.models import weights
from tfbert.models.weights import BEST
from tfbert.training.checkpoint import CHECKPOINT, Checkpoints

ARRAYS = {"model/kernel": np.arange(12, dtype=np.float32).reshape(3, 4) / 7, "optimizer/step": np.asarray(3, np.int64)}
PROGRESS = {"losses": [[1, 0.1]], "name": "é"}


def flip(path, array):
    """Flip one bit of an array's bytes in a file."""
    content = bytearray(path.read_bytes())
    position = content.find(array.tobytes())
    assert position > 0
    content[position + 3] ^= 0x40
    path.write_bytes(content)


def test_a_checkpoint_is_resumed_as_it_was_saved(tmp_path):
    checkpoints = Checkpoints(tmp_path, "mine", 0)
    assert checkpoints.resume() is None
    checkpoints.save(ARRAYS, PROGRESS)
    (tmp_path / "half.part").write_bytes(b"half")
    arrays, progress = checkpoints.resume()
    assert progress == PROGRESS and not (tmp_path / "half.part").exists()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_a_checkpoint_is_due_after_some_seconds(tmp_path):
    assert Checkpoints(tmp_path, "mine", 0).is_due() and not Checkpoints(tmp_path, "mine", 60).is_due()


def test_damaged_best_weights_are_reported_when_training_continues(tmp_path):
    checkpoints = Checkpoints(tmp_path, "mine", 0)
    checkpoints.keep_best({"model/kernel": ARRAYS["model/kernel"]})
    assert not (tmp_path / BEST).exists()
    checkpoints.save(ARRAYS, PROGRESS)
    np.testing.assert_array_equal(weights.load_best(tmp_path)["model/kernel"], ARRAYS["model/kernel"])
    assert checkpoints.resume()[1]["name"] == "é"
    flip(tmp_path / BEST, ARRAYS["model/kernel"])
    with pytest.raises(ValueError, match=r"best\.safetensors: damaged: .*remove it and checkpoint.safetensors"):
        checkpoints.resume()


def test_a_damaged_checkpoint_is_rejected(tmp_path):
    checkpoints = Checkpoints(tmp_path, "mine", 0)
    checkpoints.save(ARRAYS, PROGRESS)
    flip(tmp_path / CHECKPOINT, ARRAYS["model/kernel"])
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors: damaged: .*remove it to start over"):
        checkpoints.resume()


def test_checkpoints_of_other_runs_and_versions_are_rejected(tmp_path):
    checkpoints = Checkpoints(tmp_path, "mine", 0)
    weights.save(tmp_path / CHECKPOINT, ARRAYS, {"fingerprint": "mine", "progress": PROGRESS})
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors: was written by another version.*remove it"):
        checkpoints.resume()
    Checkpoints(tmp_path, "yours", 0).save(ARRAYS, PROGRESS)
    with pytest.raises(ValueError, match="belongs to another run"):
        checkpoints.resume()


def test_the_message_after_a_signal_names_the_checkpoint(tmp_path):
    message = Checkpoints(tmp_path, "mine", 0).message("update 2 of epoch 1")
    assert message == f"stopped after update 2 of epoch 1; saved {tmp_path / CHECKPOINT}"
