"""The pooled head: all kinds of pooling, padding, dropout, seeds, and initialization from linear probes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression, Ridge

from tfbert.heads.pooled import (
    PooledHead,
    PoolingHead,
    is_pooling,
    start_with_label_probes,
    start_with_probe,
    start_with_ridge,
)

POOLINGS = ["mean", "max", "cls", "pooler"]
LENGTHS = [5, 1, 3]
MASK = (np.arange(5) < np.array(LENGTHS)[:, None]).astype("int32")
BATCH = {"padding_mask": MASK}


def encoded(dtype="float32"):
    """Return a random encoder output in which every number is different."""
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
    texts = [sequence[index, :length] for index, length in enumerate(LENGTHS)]
    return {
        "mean": lambda: np.stack([tokens.mean(0) for tokens in texts]),
        "max": lambda: np.stack([tokens.max(0) for tokens in texts]),
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
    np.testing.assert_allclose(head(outputs, BATCH), expected, rtol=1e-5, atol=1e-6)
    # Training with a frozen encoder computes the scores from vectors that were pooled once.
    assert is_pooling(head)
    np.testing.assert_array_equal(head.scores_of(head.pool(outputs, MASK)), head(outputs, BATCH))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("filling", [-1e6, 1e6])
def test_padding_has_no_influence(pooling, filling):
    head, outputs = make_head(pooling), encoded()
    padded = dict(outputs, sequence_output=tf.where(MASK[:, :, None] == 1, outputs["sequence_output"], filling))
    np.testing.assert_array_equal(head.pool(padded, MASK), head.pool(outputs, MASK))
    # The padded length of the batch has no influence either.
    longer = dict(outputs, sequence_output=tf.pad(outputs["sequence_output"], [[0, 0], [0, 7], [0, 0]]))
    mask = np.pad(MASK, [[0, 0], [0, 7]])
    np.testing.assert_allclose(head.pool(longer, mask), head.pool(outputs, MASK), rtol=1e-6)


def test_max_prefers_very_negative_tokens_to_padding():
    # Here the zeros of the padding are larger than all values of tokens.
    values = np.full((3, 5, 4), 0, "float32")
    negative = -1e4 * (1 + np.arange(15, dtype="float32").reshape(3, 5))[:, :, None] * [1, 2, 3, 4]
    values[MASK == 1] = negative[MASK == 1]
    outputs = encoded() | {"sequence_output": tf.constant(values)}
    np.testing.assert_array_equal(make_head("max").pool(outputs, MASK), expected_pool("max", outputs))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_half_precision_is_pooled_in_float32(pooling, dtype):
    outputs = encoded(dtype)
    in_float32 = {name: tf.cast(value, "float32") for name, value in outputs.items()}
    head = make_head(pooling)
    assert head.pool(outputs, MASK).dtype == head(outputs, BATCH).dtype == tf.float32
    np.testing.assert_allclose(head.pool(outputs, MASK), expected_pool(pooling, in_float32), rtol=1e-6)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert make_head(pooling)(outputs, BATCH).dtype == tf.float32
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_reach_only_the_pooled_values(pooling):
    head, outputs = make_head(pooling), encoded()
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss = tf.reduce_sum(head(outputs, BATCH, training=True) ** 2)
    gradients, weights = tape.gradient(loss, [outputs, head.trainable_weights])
    assert len(weights) == 2 and all(np.abs(weight).max() > 0 for weight in weights)
    assert head.uses_pooler == (pooling == "pooler")
    if pooling == "pooler":
        assert gradients["sequence_output"] is None
        assert (np.abs(gradients["pooled_output"]).max(1) > 0).all()
        return
    assert gradients["pooled_output"] is None
    reached = np.abs(gradients["sequence_output"]).max(2) > 0
    expected = {"mean": MASK == 1, "cls": np.arange(5)[None] * np.ones((3, 1)) == 0}
    if pooling == "max":
        assert reached.any(1).all() and not reached[MASK == 0].any()
    else:
        np.testing.assert_array_equal(reached, expected[pooling])


def test_dropout_is_active_in_training_only():
    head, outputs = make_head("mean", dropout=0.5), encoded()
    without_dropout = head(outputs, BATCH).numpy()
    np.testing.assert_array_equal(head(outputs, BATCH, training=False), without_dropout)
    first, second = (head(outputs, BATCH, training=True).numpy() for _ in range(2))
    assert not np.array_equal(first, without_dropout) and not np.array_equal(first, second)
    head = make_head("mean", dropout=0.0)
    np.testing.assert_array_equal(head(outputs, BATCH, training=True), head(outputs, BATCH))


def test_the_seed_determines_weights_and_dropout():
    outputs = encoded()
    first, same, other = (make_head("mean", dropout=0.5, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.logits.kernel, same.logits.kernel)
    assert not np.array_equal(first.logits.kernel, other.logits.kernel)
    for _ in range(2):
        np.testing.assert_array_equal(first(outputs, BATCH, training=True), same(outputs, BATCH, training=True))
    assert np.abs(first.logits.kernel).max() <= 0.04 + 1e-6 and not np.any(first.logits.bias)


def test_pooling_has_no_weights():
    head, outputs = PoolingHead(pooling="max", dropout=0.2), encoded()
    head.build(4)
    assert not head.weights and head.dropout.rate == 0.2
    np.testing.assert_array_equal(head.pool(outputs, MASK), expected_pool("max", outputs))


def random_vectors(num_vectors):
    """Return vectors of length about 7; the vectors of an encoder are longer than 1 too."""
    return np.random.default_rng(0).normal(0.5, 3, (num_vectors, 4)).astype(np.float32)


@pytest.mark.parametrize("label_ids", [[0, 1, 2], [0, 2]])
def test_logits_are_initialized_with_logistic_regression_of_the_labels_in_the_data(label_ids):
    vectors, head = random_vectors(400), make_head()
    before = head.logits.kernel.numpy()
    noise = np.random.default_rng(1).normal(0, 2, (400, 3))
    targets = np.asarray(label_ids)[(vectors[:, :3] + noise)[:, : len(label_ids)].argmax(1)]
    start_with_probe(head, vectors, targets)
    scale = np.linalg.norm(vectors, axis=1).mean()
    probe = LogisticRegression(C=10.0, max_iter=200).fit(vectors / scale, targets)
    logits = (vectors @ head.logits.kernel.numpy() + head.logits.bias.numpy())[:, label_ids]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(probabilities, probe.predict_proba(vectors / scale), rtol=1e-3, atol=1e-4)
    absent = sorted({0, 1, 2} - set(label_ids))
    np.testing.assert_array_equal(head.logits.kernel.numpy()[:, absent], before[:, absent])
    assert not head.logits.bias.numpy()[absent].any()


def test_each_logit_is_initialized_with_one_label_against_the_rest():
    vectors = random_vectors(400)
    noise = np.random.default_rng(1).normal(0, 2, (400, 3))
    has_label = vectors[:, :3] + noise > [0.0, 3.0, 5.0]
    head = make_head()
    start_with_label_probes(head, vectors, has_label, has_label.mean(0))
    scale = np.linalg.norm(vectors, axis=1).mean()
    for label in range(3):
        # The prevalence equals that of the examples, so the bias is not corrected.
        probe = LogisticRegression(C=10.0, max_iter=200).fit(vectors / scale, has_label[:, label])
        expected = probe.decision_function(vectors / scale)
        logits = vectors @ head.logits.kernel.numpy()[:, label] + head.logits.bias.numpy()[label]
        np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)


def test_selecting_examples_of_a_rare_label_does_not_raise_its_probability():
    vectors = random_vectors(20_000)
    noise = np.random.default_rng(1).logistic(0, 3, 20_000)
    has_label = (vectors[:, :1] + noise[:, None] > 12) * np.ones((1, 3), bool)
    rare = has_label[:, 0].mean()
    assert 0.01 < rare < 0.1
    selected = np.concatenate([np.flatnonzero(has_label[:, 0])[:400], np.arange(600)])
    probabilities = []
    for prevalence in (rare, has_label[selected, 0].mean()):
        head = make_head()
        start_with_label_probes(head, vectors[selected], has_label[selected], np.full(3, prevalence))
        logits = vectors @ head.logits.kernel.numpy() + head.logits.bias.numpy()
        probabilities.append((1 / (1 + np.exp(-logits))).mean(0))
    np.testing.assert_allclose(probabilities[0], rare, rtol=0.25)
    assert (probabilities[1] > 3 * rare).all()


def test_a_label_that_no_example_has_is_initialized_with_its_prevalence():
    vectors, head = random_vectors(50), make_head()
    before = head.logits.kernel.numpy()
    has_label = np.stack([np.zeros(50), np.ones(50), vectors[:, 0] > 0], axis=1).astype(bool)
    start_with_label_probes(head, vectors, has_label, np.array([0.01, 0.95, 0.5]))
    after = head.logits.kernel.numpy()
    np.testing.assert_array_equal(after[:, :2], before[:, :2])
    assert np.abs(after[:, 2] - before[:, 2]).max() > 0.1
    np.testing.assert_allclose(head.logits.bias.numpy()[:2], np.log([0.01 / 0.99, 0.95 / 0.05]), rtol=1e-5)


def test_one_logit_is_initialized_with_ridge_regression():
    vectors = random_vectors(300)
    targets = vectors @ [0.2, -0.1, 0.0, 0.05] + 0.7 + np.random.default_rng(1).normal(0, 1, 300)
    scale = np.sqrt(np.mean(vectors**2, axis=0))
    centred = vectors / scale - (vectors / scale).mean(0)

    def leave_one_out_error(penalty):
        # The leave-one-out residual is the residual divided by one minus the leverage.
        hat = centred @ np.linalg.solve(centred.T @ centred + penalty * np.eye(4), centred.T) + 1 / 300
        return np.mean(((targets - hat @ targets) / (1 - np.diag(hat))) ** 2)

    best = min(300 * np.logspace(-4, 1, 11), key=leave_one_out_error)
    assert best < 300 * 0.2 / 0.8
    for dropout, penalty in ((0.0, best), (0.2, 300 * 0.2 / 0.8)):
        head = PooledHead(1, dropout=dropout)
        head.build(4)
        start_with_ridge(head, vectors, targets)
        logits = vectors @ head.logits.kernel.numpy()[:, 0] + head.logits.bias.numpy()[0]
        expected = Ridge(penalty).fit(vectors / scale, targets).predict(vectors / scale)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_ridge_regression_is_robust_to_dropout():
    # Two features are almost equal, and the target is their difference: weights of 1000 would be exact.
    vectors = random_vectors(300)
    vectors[:, 1] = vectors[:, 0] + 1e-3 * vectors[:, 1]
    vectors[:, 3] *= 1e-33
    targets = 1000 * (vectors[:, 1] - vectors[:, 0])
    errors = []
    for dropout in (0.0, 0.1):
        head = PooledHead(1, dropout=dropout)
        head.build(4)
        start_with_ridge(head, vectors, targets)
        is_kept = np.random.default_rng(2).random((200, *vectors.shape)) < 0.9
        logits = (vectors * is_kept / 0.9) @ head.logits.kernel.numpy()[:, 0] + head.logits.bias.numpy()[0]
        errors.append(np.mean((logits - targets) ** 2) / targets.var())
        assert np.abs(head.logits.kernel.numpy()[3]) < 1e-3
    assert errors[0] > 2 and errors[1] < 1.05
