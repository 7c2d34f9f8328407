"""The embedding head returns unit vectors in the direction of the pooled vectors, and has no weights."""

import numpy as np
import pytest
import tensorflow as tf

from tfbert.heads.embedding import EmbeddingHead
from tfbert.heads.pooled import PooledHead, is_pooling
from tfbert.models.task_model import Embedder

MASK = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], np.int32)
INPUTS = {"padding_mask": MASK}


def encoded():
    rng = np.random.default_rng(5)
    return {
        "sequence_output": tf.constant(rng.normal(0, 3, (2, 4, 6)), tf.float32),
        "pooled_output": tf.constant(rng.normal(0, 3, (2, 6)), tf.float32),
    }


def make_head(**options):
    head = EmbeddingHead(**options)
    head.build(6)
    return head


@pytest.mark.parametrize("pooling", ["mean", "max", "cls", "pooler"])
def test_unit_vectors_in_the_direction_of_the_pooled_head(pooling):
    head, pooled = make_head(pooling=pooling), PooledHead(1, pooling=pooling)
    vectors = head(encoded(), INPUTS).numpy()
    expected = pooled.pool(encoded(), MASK).numpy()
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert head.uses_pooler == (pooling == "pooler")
    assert vectors.dtype == np.float32


def test_mean_is_over_real_tokens():
    outputs = encoded()
    sequence = outputs["sequence_output"].numpy()
    expected = np.stack([sequence[0, :3].mean(0), sequence[1, :2].mean(0)])
    vectors = make_head()(outputs, INPUTS).numpy()
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)


def test_half_precision_is_converted_to_float32():
    outputs = {name: tf.cast(value, tf.bfloat16) for name, value in encoded().items()}
    vectors = make_head()(outputs, INPUTS)
    assert vectors.dtype == "float32"
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_the_head_has_no_weights():
    assert make_head().trainable_weights == []


def test_dropout_is_active_in_training_only():
    head = make_head(dropout=0.5, seed=1)
    plain = head(encoded(), INPUTS).numpy()
    dropped = head(encoded(), INPUTS, training=True).numpy()
    assert (plain != 0).all()
    assert 0 < (dropped == 0).sum() < dropped.size
    np.testing.assert_allclose(np.linalg.norm(dropped, axis=1), 1, atol=1e-6)


def test_a_zero_vector_and_its_gradient_stay_finite():
    sequence = tf.Variable(tf.zeros([1, 2, 6]))
    with tf.GradientTape() as tape:
        inputs = {"padding_mask": np.ones((1, 2), np.int32)}
        vectors = make_head()({"sequence_output": sequence, "pooled_output": None}, inputs)
        total = tf.reduce_sum(vectors)
    assert vectors.numpy().tolist() == [[0.0] * 6]
    assert np.isfinite(tape.gradient(total, sequence)).all()


def test_vectors_are_computed_from_pooled_ones():
    head, outputs = make_head(), encoded()
    assert is_pooling(head)
    np.testing.assert_array_equal(head.scores_of(head.pool(outputs, MASK)), head(outputs, INPUTS))


def test_the_embedder_accepts_the_head():
    class Backbone(tf.Module):
        def __call__(self, inputs, training=False):
            return encoded()

    class Holder:
        backbone, head = Backbone(), make_head()

    vectors = Embedder.call(Holder, INPUTS)
    np.testing.assert_allclose(vectors, make_head().pool(encoded(), MASK))
