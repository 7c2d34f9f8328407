"""The base class of heads computes in float32 for any encoder precision, and does not pool by default."""

import keras
import numpy as np

from tfbert.heads.base import Head
from tfbert.heads.pooled import is_pooling


class Doubled(Head):
    """Twice the first token."""

    def call(self, encoded, inputs, training=False):
        return 2 * keras.ops.cast(encoded["sequence_output"][:, 0], "float32")


def test_a_head_computes_in_float32_after_an_encoder_in_bfloat16():
    head = Doubled(name="head")
    head.build(4)
    assert head.built and not head.uses_pooler and not is_pooling(head)
    encoded = {"sequence_output": keras.ops.ones((2, 3, 4), "bfloat16")}
    scores = head(encoded, {"padding_mask": np.ones((2, 3), np.int32)})
    assert keras.backend.standardize_dtype(scores.dtype) == "float32"
    np.testing.assert_array_equal(scores, np.full((2, 4), 2.0))
