"""The active embedding is looked up and written back, and refused if a head is tied to the token embedding."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from tfbert.encoder.active_embedding import ActiveEmbedding
from tfbert.encoder.backbone import load_encoder
from tfbert.heads.pooled import PooledHead
from tfbert.models.task_model import TaskModel


@pytest.fixture
def model():
    return TaskModel(load_encoder("tiny").backbone, PooledHead(2, name="head"))


def test_only_active_tokens_can_be_looked_up_and_are_written_back(model):
    encoder, table = model.backbone, model.backbone.token_embedding.embeddings
    active = ActiveEmbedding(model, np.array([0, 5, 7]))
    ids = tf.constant([[7, 0], [5, 5]])
    expected = encoder.embed(ids, ids * 0)
    with active.in_use():
        np.testing.assert_array_equal(encoder.embed(ids, ids * 0), expected)
        np.testing.assert_array_equal(active.look_up(ids), tf.gather(table.value, ids))
        active.vectors.assign(active.vectors * 2)
        assert np.abs(encoder.embed(ids, ids * 0) - expected).max() > 0.1
        with pytest.raises(tf.errors.InvalidArgumentError):
            encoder.embed(tf.constant([[6]]), tf.constant([[0]]))
    before = np.asarray(table)
    np.testing.assert_array_equal(encoder.embed(ids, ids * 0), expected)
    active.write_table()
    before[[0, 5, 7]] *= 2
    np.testing.assert_array_equal(table, before)
    table.assign(before * 2)
    active.read_table()
    np.testing.assert_array_equal(active.vectors, before[[0, 5, 7]] * 2)


class TiedHead(keras.layers.Layer):
    def __init__(self, encoder):
        super().__init__(name="tied_head")
        self.words = keras_hub.layers.MaskedLMHead(token_embedding=encoder.token_embedding)


def test_a_head_that_is_tied_to_the_token_embedding_is_refused(model):
    ActiveEmbedding(model, np.array([0, 5, 7]))
    model.words = TiedHead(model.backbone)
    with pytest.raises(ValueError, match="tied_head is tied to the token embedding"):
        ActiveEmbedding(model, np.array([0, 5, 7]))


def test_several_models_on_one_encoder_are_not_tied(model):
    class TwoTasks(keras.Model):
        def __init__(self):
            super().__init__()
            self.backbone = model.backbone
            self.tasks = [model, TaskModel(model.backbone, PooledHead(3, name="second"))]
            self.built = True

    both = TwoTasks()
    ActiveEmbedding(both, np.array([0, 5, 7]))
    both.tasks[1].words = TiedHead(model.backbone)
    with pytest.raises(ValueError, match="tied_head is tied to the token embedding"):
        ActiveEmbedding(both, np.array([0, 5, 7]))
