"""Token head: one dense layer that gives logits for every token."""

from collections.abc import Mapping

import keras
from keras import ops

from tfbert.heads.base import Head


class TokenHead(Head):
    """Dense layer that gives `num_logits` logits for every token.

    Args:
        num_logits: logits per token.
        dropout: fraction of the encoder's output that is dropped in training.
        seed: random seed of the dense layer's initial weights and of dropout.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, num_logits: int, *, dropout: float = 0.1, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.dropout = keras.layers.Dropout(dropout, seed=seed, dtype="float32", name="dropout")
        self.logits = keras.layers.Dense(
            num_logits,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02, seed=seed),
            dtype="float32",
            name="logits",
        )

    def build(self, hidden_dim: int) -> None:
        """Create the weights for an encoder with this `hidden_dim`."""
        self.logits.build((None, None, hidden_dim))
        self.built = True

    def call(self, encoded: Mapping, inputs: Mapping, training: bool = False):
        """Return logits: float32 `(sequences, length, num_logits)`."""
        sequence = ops.cast(encoded["sequence_output"], "float32")
        return self.logits(self.dropout(sequence, training=training))
