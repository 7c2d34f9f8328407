"""The token head: one dense layer in float32, dropout, and seeds."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfbert.heads.pooled import is_pooling
from tfbert.heads.tokens import TokenHead


def encoded(dtype="float32"):
    """Return a random encoder output in which every number is different."""
    return {"sequence_output": tf.constant(np.random.default_rng(3).normal(0, 2, (2, 4, 6)), dtype)}


def make_head(**options):
    head = TokenHead(5, **options)
    head.build(6)
    return head


def test_logits_of_every_token():
    head, outputs = make_head(), encoded()
    head.logits.bias.assign([0.5, -1.0, 2.0, 0.0, 1.0])
    expected = outputs["sequence_output"].numpy() @ head.logits.kernel.numpy() + [0.5, -1.0, 2.0, 0.0, 1.0]
    np.testing.assert_allclose(head(outputs, {}), expected, rtol=1e-5, atol=1e-6)
    assert not head.uses_pooler and not is_pooling(head)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_computed_in_float32(dtype):
    outputs = encoded(dtype)
    in_float32 = {name: tf.cast(value, "float32") for name, value in outputs.items()}
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        logits = make_head()(outputs, {})
    finally:
        keras.config.set_dtype_policy("float32")
    assert logits.dtype == tf.float32
    np.testing.assert_array_equal(logits, make_head()(in_float32, {}))


def test_dropout_and_seed():
    head, outputs = make_head(dropout=0.5, seed=5), encoded()
    logits = head(outputs, {}).numpy()
    assert not np.array_equal(head(outputs, {}, training=True), logits)
    np.testing.assert_array_equal(head(outputs, {}, training=False), logits)
    np.testing.assert_array_equal(make_head(seed=5)(outputs, {}), logits)
    assert not np.array_equal(make_head(seed=6)(outputs, {}), logits)
