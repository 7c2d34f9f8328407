"""The model of a task: scores, the pooler of heads that do not use it, and embeddings in order."""

import keras
import numpy as np
import pytest

from tfbert.heads.pooled import PooledHead
from tfbert.models import task_model
from tfbert.models.build import build_model
from tfbert.models.task_model import Embedder, TaskModel, embed_sequences

INPUTS = {
    "token_ids": np.array([[2, 9, 30, 3], [2, 40, 3, 0]], "int32"),
    "segment_ids": np.zeros((2, 4), "int32"),
    "padding_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]], "int32"),
}


@pytest.fixture(scope="module")
def model(problem):
    keras.utils.set_random_seed(0)
    return build_model(problem.task, problem.encoder.spec, problem.config)


def test_scores_are_those_of_the_head_on_the_encoder(model):
    encoded = model.backbone(INPUTS, training=False)
    expected = model.head(encoded, INPUTS, training=False)
    np.testing.assert_array_equal(model(INPUTS), expected)
    assert model(INPUTS).shape == (2, 3)


def test_features_reach_the_head_but_not_the_encoder(model):
    input_names = []

    class Head(PooledHead):
        def __call__(self, encoded, inputs, training=False):
            input_names.append(set(inputs))
            return super().__call__(encoded, inputs, training=training)

    featured = TaskModel(model.backbone, Head(3, pooling="mean"))
    featured(INPUTS | {"price": np.float32([1, 2])})
    assert input_names == [{*INPUTS, "price"}]


@pytest.mark.parametrize(("pooling", "is_trained"), [("mean", False), ("pooler", True)])
def test_the_pooler_is_trained_only_if_the_head_uses_it(model, pooling, is_trained):
    head = PooledHead(3, pooling=pooling)
    assert head.uses_pooler is is_trained
    TaskModel(model.backbone, head)
    assert model.backbone.pooled_dense.trainable is is_trained


def test_the_embedder_returns_the_pooled_vectors_of_the_head(problem):
    embedder = Embedder(problem.encoder.backbone, PooledHead(1, pooling="mean"))
    output = np.asarray(problem.encoder.backbone(INPUTS)["sequence_output"])
    expected = [output[0].mean(axis=0), output[1, :3].mean(axis=0)]
    np.testing.assert_allclose(embedder(INPUTS), expected, atol=1e-5)


def test_embeddings_are_in_the_order_of_the_indices(problem, monkeypatch):
    monkeypatch.setattr(task_model, "EVALUATION_BATCH_TOKENS", 64)
    split = problem.tokenized["train"]
    embedder = Embedder(problem.encoder.backbone, PooledHead(1, pooling="mean"))
    indices = [17, 3, 3, 20, 0, 9]
    vectors = embed_sequences(embedder, split, problem.config.encoder.sequence_length, indices)
    assert (vectors.dtype, vectors.shape) == (np.float32, (6, problem.encoder.backbone.hidden_dim))
    for position, index in enumerate(indices):
        ids = np.asarray(split.sequences[index], np.int32)[None]
        single = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}
        np.testing.assert_allclose(vectors[position], embedder(single)[0], atol=1e-5)
