"""Pretraining models: precision, initial weights of the encoder, and the heads in the directory of an encoder."""

import numpy as np
import pytest

from tfbert.config import override
from tfbert.encoder.backbone import load_encoder, save_encoder
from tfbert.pretraining.build import build_models
from tfbert.pretraining.config import PretrainConfig


@pytest.fixture(scope="module")
def config():
    return override(PretrainConfig(), {"encoder.name": "tiny", "encoder.precision": "float32"})


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("tiny")


def weights(model):
    return [np.asarray(weight) for weight in model.weights]


def test_in_float32_one_model_is_trained_and_evaluated(encoder, config):
    model, evaluation_model, has_heads = build_models(encoder, config)
    assert model is evaluation_model and not has_heads
    for weight, value in zip(model.backbone.weights, encoder.backbone.weights, strict=True):
        np.testing.assert_array_equal(weight, value)
    rebuilt, _, _ = build_models(encoder, config)
    assert all(np.array_equal(a, b) for a, b in zip(weights(model), weights(rebuilt), strict=True))


def test_in_lower_precision_another_model_with_equal_weights_is_evaluated(encoder, config):
    values = {"encoder.precision": "bfloat16", "encoder.fast": False, "examples.pairs": "none"}
    model, evaluation_model, _ = build_models(encoder, override(config, values))
    assert model is not evaluation_model
    assert model.head.pairs is None
    dtypes = [built.backbone.dtype_policy.compute_dtype for built in (model, evaluation_model)]
    assert dtypes == ["bfloat16", "float32"]
    assert all(np.array_equal(a, b) for a, b in zip(weights(model), weights(evaluation_model), strict=True))


def test_the_heads_of_an_encoder_are_loaded(encoder, config, tmp_path):
    model, _, _ = build_models(encoder, config)
    arrays = {name: array + 0.5 for name, array in model.head.arrays().items()}
    save_encoder(encoder, tmp_path / "encoder", arrays)
    with_heads = str(tmp_path / "encoder")
    loaded, _, has_heads = build_models(load_encoder(with_heads), override(config, {"encoder.name": with_heads}))
    assert has_heads
    for name, array in loaded.head.arrays().items():
        np.testing.assert_array_equal(array, arrays[name], err_msg=name)
