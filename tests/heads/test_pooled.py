"""The pooled head: what each pooling reads, and what it leaves alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfbert.heads.pooled import PooledHead

POOLINGS = ["mean", "max", "cls", "pooler"]
LENGTHS = [5, 1, 3]
MASK = (np.arange(5) < np.array(LENGTHS)[:, None]).astype("int32")


def encoded(dtype="float32"):
    """Draw an encoder's output in which every number is different."""
    rng = np.random.default_rng(3)
    return {
        "sequence_output": tf.constant(rng.normal(0, 2, (3, 5, 4)), dtype),
        "pooled_output": tf.constant(rng.normal(0, 2, (3, 4)), dtype),
    }


def make_head(pooling="mean", **options):
    head = PooledHead(3, pooling=pooling, **options)
    head.build(4)
    return head


def expected_pool(pooling, outputs):
    sequence = outputs["sequence_output"].numpy()
    rows = [sequence[row, :length] for row, length in enumerate(LENGTHS)]
    return {
        "mean": lambda: np.stack([row.mean(0) for row in rows]),
        "max": lambda: np.stack([row.max(0) for row in rows]),
        "cls": lambda: sequence[:, 0],
        "pooler": lambda: outputs["pooled_output"].numpy(),
    }[pooling]()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pooling_and_logits(pooling):
    head, outputs = make_head(pooling), encoded()
    pooled = expected_pool(pooling, outputs)
    np.testing.assert_allclose(head.pool(outputs, MASK), pooled, rtol=1e-6)
    head.logits.bias.assign([0.5, -1.0, 2.0])
    expected = pooled @ head.logits.kernel.numpy() + [0.5, -1.0, 2.0]
    np.testing.assert_allclose(head(outputs, MASK), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("filling", [-1e6, 1e6])
def test_padding_has_no_influence(pooling, filling):
    head, outputs = make_head(pooling), encoded()
    padded = dict(outputs, sequence_output=tf.where(MASK[:, :, None] == 1, outputs["sequence_output"], filling))
    np.testing.assert_array_equal(head.pool(padded, MASK), head.pool(outputs, MASK))
    # Nor has the length that the batch happens to be padded to.
    longer = dict(outputs, sequence_output=tf.pad(outputs["sequence_output"], [[0, 0], [0, 7], [0, 0]]))
    mask = np.pad(MASK, [[0, 0], [0, 7]])
    np.testing.assert_allclose(head.pool(longer, mask), head.pool(outputs, MASK), rtol=1e-6)


def test_max_takes_very_negative_tokens_before_padding():
    # Padding that the encoder filled with zeros is larger than every real value here.
    values = np.full((3, 5, 4), 0, "float32")
    real = -1e4 * (1 + np.arange(15, dtype="float32").reshape(3, 5))[:, :, None] * [1, 2, 3, 4]
    values[MASK == 1] = real[MASK == 1]
    outputs = encoded() | {"sequence_output": tf.constant(values)}
    np.testing.assert_array_equal(make_head("max").pool(outputs, MASK), expected_pool("max", outputs))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_half_precision_is_pooled_in_float32(pooling, dtype):
    outputs = encoded(dtype)
    in_full = {name: tf.cast(value, "float32") for name, value in outputs.items()}
    head = make_head(pooling)
    assert head.pool(outputs, MASK).dtype == head(outputs, MASK).dtype == tf.float32
    np.testing.assert_allclose(head.pool(outputs, MASK), expected_pool(pooling, in_full), rtol=1e-6)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert make_head(pooling)(outputs, MASK).dtype == tf.float32
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_reach_what_is_pooled_and_nothing_else(pooling):
    head, outputs = make_head(pooling), encoded()
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss = tf.reduce_sum(head(outputs, MASK, training=True) ** 2)
    used, weights = tape.gradient(loss, [outputs, head.trainable_weights])
    assert len(weights) == 2 and all(np.abs(weight).max() > 0 for weight in weights)
    assert head.uses_pooler == (pooling == "pooler")
    if pooling == "pooler":
        assert used["sequence_output"] is None
        assert (np.abs(used["pooled_output"]).max(1) > 0).all()
        return
    assert used["pooled_output"] is None
    reached = np.abs(used["sequence_output"]).max(2) > 0
    expected = {"mean": MASK == 1, "cls": np.arange(5)[None] * np.ones((3, 1)) == 0}
    if pooling == "max":
        assert reached.any(1).all() and not reached[MASK == 0].any()
    else:
        np.testing.assert_array_equal(reached, expected[pooling])


def test_dropout_is_active_in_training_only():
    head, outputs = make_head("mean", dropout=0.5), encoded()
    still = head(outputs, MASK).numpy()
    np.testing.assert_array_equal(head(outputs, MASK, training=False), still)
    drawn = [head(outputs, MASK, training=True).numpy() for _ in range(2)]
    assert not np.array_equal(drawn[0], still) and not np.array_equal(drawn[0], drawn[1])
    without = make_head("mean", dropout=0.0)
    np.testing.assert_array_equal(without(outputs, MASK, training=True), without(outputs, MASK))


def test_a_seed_decides_weights_and_dropout():
    outputs = encoded()
    first, same, other = (make_head("mean", dropout=0.5, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.logits.kernel, same.logits.kernel)
    assert not np.array_equal(first.logits.kernel, other.logits.kernel)
    for _ in range(2):
        np.testing.assert_array_equal(first(outputs, MASK, training=True), same(outputs, MASK, training=True))
    assert np.abs(first.logits.kernel).max() <= 0.04 + 1e-6 and not np.any(first.logits.bias)
