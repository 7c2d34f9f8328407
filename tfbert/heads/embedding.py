"""Encoder output in, one unit vector a text out: the head of tasks that compare texts by cosine."""

from typing import Literal

import keras
from keras import ops

from tfbert.heads.pooled import PooledHead

# Shorter vectors are not stretched to length 1, so that there is no division by zero.
_SHORTEST = 1e-12


class EmbeddingHead(keras.layers.Layer):
    """Pool the tokens of a text into one vector of length 1. There are no weights.

    Args:
        pooling: `mean`, `max`, `cls` or `pooler`, as in `HeadConfig`.
        dropout: on the pooled vector in training.
        seed: of dropout.
        **kwargs: of `keras.layers.Layer`. The head always computes in float32.

    Source: Reimers and Gurevych 2019, "Sentence-BERT", section 3: mean pooling. Ours counts [CLS] and [SEP] too, as
        their code does, and always gives unit vectors, so that a product is a cosine.
    """

    def __init__(
        self,
        *,
        pooling: Literal["mean", "max", "cls", "pooler"] = "mean",
        dropout: float = 0.0,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(dtype="float32", **kwargs)
        self.pooling = pooling
        self.dropout = keras.layers.Dropout(dropout, seed=seed, dtype="float32", name="dropout")

    # Of these two the pooled head has all that is needed, and they need nothing of it but `pooling`.
    uses_pooler = PooledHead.uses_pooler
    pool = PooledHead.pool

    def build(self, hidden_dim: int) -> None:
        """Do nothing but say so: there are no weights."""
        self.built = True

    def call(self, encoded: dict, padding_mask, training: bool = False):
        """Return unit vectors: float32 `(batch, hidden_dim)`.

        Args:
            encoded: `sequence_output` `(batch, length, hidden_dim)` and `pooled_output` `(batch, hidden_dim)`.
            padding_mask: int32 `(batch, length)`, 1 for a real token.
            training: whether dropout is active.
        """
        vectors = self.dropout(self.pool(encoded, padding_mask), training=training)
        length = ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True))
        return vectors / ops.maximum(length, _SHORTEST)
