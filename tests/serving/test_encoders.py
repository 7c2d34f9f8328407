"""Export for PyTorch: the encoder of a fine-tuning run, of a pretraining run, or by name."""

import numpy as np
import pytest
from safetensors import safe_open
from support import small

from tfbert.encoder.backbone import load_encoder, save_encoder
from tfbert.models.saved_run import load_run
from tfbert.serving.encoders import export_huggingface

INPUTS = {
    "token_ids": np.array([[2, 9, 30, 3], [2, 100, 3, 0]], "int32"),
    "segment_ids": np.zeros((2, 4), "int32"),
    "padding_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]], "int32"),
}


def vectors(backbone):
    return backbone(INPUTS)["sequence_output"].numpy()


def test_the_encoder_of_a_run_is_the_fine_tuned_one(tmp_path):
    run_dir, _ = small.finished_run()
    export_huggingface(str(run_dir), tmp_path / "out")
    loaded = load_encoder(tmp_path / "out")
    finished = load_run(run_dir)
    np.testing.assert_array_equal(vectors(loaded.backbone), vectors(finished.predictor.model.backbone))
    assert np.abs(vectors(loaded.backbone) - vectors(load_encoder("tiny").backbone)).max() > 1e-3
    assert loaded.vocabulary == finished.predictor.tokenizer.vocabulary
    assert loaded.lowercase and loaded.strip_accents


def test_the_encoder_of_a_pretraining_run_is_its_result(tmp_path):
    encoder = load_encoder("tiny", seed=5)
    heads = {"cls.predictions.bias": np.arange(3, dtype="float32")}
    save_encoder(encoder, tmp_path / "run" / "encoder", heads)
    export_huggingface(str(tmp_path / "run"), tmp_path / "out")
    np.testing.assert_array_equal(vectors(load_encoder(tmp_path / "out").backbone), vectors(encoder.backbone))
    with safe_open(tmp_path / "out" / "model.safetensors", framework="np") as file:
        np.testing.assert_array_equal(file.get_tensor("cls.predictions.bias"), np.arange(3))


def test_an_encoder_by_name(tmp_path):
    export_huggingface("tiny", tmp_path / "out")
    np.testing.assert_array_equal(
        vectors(load_encoder(tmp_path / "out").backbone), vectors(load_encoder("tiny").backbone)
    )
    with pytest.raises(ValueError, match="encoder 'tinny' is not known; .*; did you mean 'tiny'\\?"):
        export_huggingface("tinny", tmp_path / "other")
