"""Encoder output in, logits of every token out, by one dense layer; what they mean is for others to say."""

import keras
from keras import ops


class TokenHead(keras.layers.Layer):
    """Say so many things of every token.

    Args:
        num_logits: of a token.
        dropout: on the encoder's output in training.
        seed: of the dense layer's initial weights and of dropout.
        **kwargs: of `keras.layers.Layer`. The head always computes in float32.
    """

    uses_pooler = False

    def __init__(self, num_logits: int, *, dropout: float = 0.1, seed: int = 0, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.dropout = keras.layers.Dropout(dropout, seed=seed, dtype="float32", name="dropout")
        self.logits = keras.layers.Dense(
            num_logits,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02, seed=seed),
            dtype="float32",
            name="logits",
        )

    def build(self, hidden_dim: int) -> None:
        """Make the weights for an encoder of this width."""
        self.logits.build((None, None, hidden_dim))
        self.built = True

    def call(self, encoded: dict, padding_mask, training: bool = False):
        """Return logits: float32 `(rows, length, num_logits)`.

        Args:
            encoded: `sequence_output` `(rows, length, hidden_dim)`.
            padding_mask: not needed here; whoever reads the logits knows which tokens count.
            training: whether dropout is active.
        """
        sequence = ops.cast(encoded["sequence_output"], "float32")
        return self.logits(self.dropout(sequence, training=training))
