"""Encoder output in, one vector of logits a text out: the head of tasks that say something about a whole text."""

from typing import Literal

import keras
from keras import ops


class PooledHead(keras.layers.Layer):
    """Pool the tokens of a text into one vector, then a dense layer.

    Args:
        num_outputs: logits a text.
        pooling: `mean`, `max`, `cls` or `pooler`, as in `HeadConfig`.
        dropout: on the pooled vector in training.
        seed: of the dense layer's initial weights and of dropout.
        **kwargs: of `keras.layers.Layer`. The head always computes in float32.
    """

    def __init__(
        self,
        num_outputs: int,
        *,
        pooling: Literal["mean", "max", "cls", "pooler"] = "mean",
        dropout: float = 0.1,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(dtype="float32", **kwargs)
        self.pooling = pooling
        self.dropout = keras.layers.Dropout(dropout, seed=seed, dtype="float32", name="dropout")
        self.logits = keras.layers.Dense(
            num_outputs,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02, seed=seed),
            dtype="float32",
            name="logits",
        )

    @property
    def uses_pooler(self) -> bool:
        """Whether BERT's own pooler has any influence, and therefore a gradient."""
        return self.pooling == "pooler"

    def build(self, hidden_dim: int) -> None:
        """Make the weights for an encoder of this width."""
        self.logits.build((None, hidden_dim))
        self.built = True

    def pool(self, encoded: dict, padding_mask):
        """Return float32 `(batch, hidden_dim)`.

        Args:
            encoded: `sequence_output` `(batch, length, hidden_dim)` and `pooled_output` `(batch, hidden_dim)`.
            padding_mask: int32 `(batch, length)`, 1 for a real token. [CLS] and [SEP] count as real, as they did when
                the default encoder was trained to pool by mean.
        """
        if self.pooling == "pooler":
            return ops.cast(encoded["pooled_output"], "float32")
        sequence = ops.cast(encoded["sequence_output"], "float32")
        if self.pooling == "cls":
            return sequence[:, 0, :]
        mask = ops.cast(padding_mask, "float32")[:, :, None]
        if self.pooling == "max":
            return ops.max(sequence + (mask - 1.0) * 1e9, axis=1)
        return ops.sum(sequence * mask, axis=1) / ops.sum(mask, axis=1)

    def call(self, encoded: dict, padding_mask, training: bool = False):
        """Return logits: float32 `(batch, num_outputs)`."""
        return self.logits(self.dropout(self.pool(encoded, padding_mask), training=training))
