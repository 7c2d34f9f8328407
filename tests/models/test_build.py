"""Building models: sizes that the encoder cannot handle, precision, pretrained weights, and frozen layers."""

import dataclasses

import keras
import numpy as np
import pytest
from support import small

from tfbert.config import override
from tfbert.models.build import build_model, build_models, check_sizes, make_tokenizer

INPUTS = {
    "token_ids": np.array([[2, 9, 30, 3]], "int32"),
    "segment_ids": np.zeros((1, 4), "int32"),
    "padding_mask": np.ones((1, 4), "int32"),
}


def configured(problem, **values):
    return override(problem.config, {path.replace("__", "."): value for path, value in values.items()})


def models(problem, **values):
    keras.utils.set_random_seed(0)
    return build_models(problem.task, problem.encoder, configured(problem, **values))


def test_sizes_that_the_encoder_does_not_have_are_rejected(problem):
    check_sizes(configured(problem, encoder__sequence_length=512), problem.encoder)
    with pytest.raises(ValueError, match="encoder.sequence_length=513: tiny has positions for at most 512 tokens"):
        check_sizes(configured(problem, encoder__sequence_length=513), problem.encoder)
    num_layers = problem.encoder.backbone.num_layers
    check_sizes(configured(problem, train__trainable_layers=num_layers), problem.encoder)
    with pytest.raises(ValueError, match=f"train.trainable_layers={num_layers + 1}"):
        check_sizes(configured(problem, train__trainable_layers=num_layers + 1), problem.encoder)


def test_the_tokenizer_has_the_vocabulary_and_the_rules_of_the_encoder(problem):
    encoder = dataclasses.replace(problem.encoder, lowercase=False, strip_accents=False, split_on_cjk=False)
    for source in (problem.encoder, encoder):
        tokenizer = make_tokenizer(source)
        assert list(tokenizer.vocabulary) == list(source.vocabulary)
        rules = (tokenizer.lowercase, tokenizer.strip_accents, tokenizer.split_on_cjk)
        assert rules == (source.lowercase, source.strip_accents, source.split_on_cjk)


def test_in_float32_one_model_is_trained_and_evaluated(problem):
    model, evaluation_model = models(problem)
    assert model is evaluation_model and model.backbone.compute_dtype == "float32"
    expected = problem.encoder.backbone(INPUTS)["sequence_output"]
    np.testing.assert_allclose(model.backbone(INPUTS)["sequence_output"], expected, atol=1e-5)
    assert model(INPUTS).shape == (1, len(small.TOPICS))


def test_in_lower_precision_two_models_have_equal_shapes(problem):
    model, evaluation_model = models(problem, encoder__precision="float16")
    assert model is not evaluation_model
    assert (model.backbone.compute_dtype, evaluation_model.backbone.compute_dtype) == ("float16", "float32")
    assert [w.shape for w in model.weights] == [w.shape for w in evaluation_model.weights]
    # Variables are float32 in both; only the model to train has the pretrained weights.
    assert {str(w.dtype) for w in model.backbone.weights} == {"float32"}
    embedding = problem.encoder.backbone.token_embedding.embeddings
    np.testing.assert_array_equal(model.backbone.token_embedding.embeddings, embedding)


def test_bfloat16_on_a_cpu_applies_only_to_products(problem, monkeypatch):
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: [])
    model, evaluation_model = models(problem, encoder__precision="bfloat16")
    assert model is evaluation_model
    assert (model.backbone.compute_dtype, model.backbone.product_dtype) == ("float32", "bfloat16")


def test_frozen_layers_are_not_trained(problem):
    num_weights = len(models(problem)[0].trainable_weights)
    frozen, _ = models(problem, train__trainable_layers=0)
    assert len(frozen.trainable_weights) == len(frozen.head.trainable_weights) > 0
    top, _ = models(problem, train__trainable_layers=1)
    assert len(frozen.trainable_weights) < len(top.trainable_weights) < num_weights


def test_a_model_with_nothing_to_train_is_rejected(tmp_path):
    from tfbert.training.problem import prepare

    for name in ("train", "validation"):
        lines = [f"{word} {name},the {word}" for word in ("card", "pin", "loan", "fee")]
        (tmp_path / f"{name}.csv").write_text("\n".join(["question,answer", *lines]), encoding="utf-8")
    config = override(small.config(tmp_path), {"task": "matching"})
    matching = prepare(config)
    with pytest.raises(ValueError, match="train.trainable_layers=0: matching has no weights outside the encoder"):
        build_models(matching.task, matching.encoder, override(config, {"train.trainable_layers": 0}))


def test_a_model_has_random_weights(problem):
    keras.utils.set_random_seed(1)
    model = build_model(problem.task, problem.encoder.spec, problem.config)
    embedding = problem.encoder.backbone.token_embedding.embeddings
    assert model.backbone.token_embedding.embeddings.shape == embedding.shape
    assert np.abs(np.asarray(model.backbone.token_embedding.embeddings) - np.asarray(embedding)).max() > 1e-3
