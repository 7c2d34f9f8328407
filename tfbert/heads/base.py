"""Base class of heads: layers on the encoder's output that return scores."""

from collections.abc import Mapping

import keras
from keras import ops


class Head(keras.layers.Layer):
    """Layers between the encoder and the scores. A head always computes in float32.

    Attributes:
        uses_pooler: whether BERT's own pooler has any influence on the scores, and therefore a gradient.
    """

    uses_pooler = False

    def __init__(self, **kwargs):
        super().__init__(dtype="float32", **kwargs)

    def build(self, hidden_dim: int) -> None:
        """Create the weights for an encoder with this `hidden_dim`."""
        self.built = True

    def call(self, encoded: Mapping, inputs: Mapping, training: bool = False):
        """Return scores, float32 `(sequences, ...)`.

        Args:
            encoded: the encoder's `sequence_output` `(sequences, length, hidden_dim)` and `pooled_output`
                `(sequences, hidden_dim)`.
            inputs: the packed batch: `padding_mask`, int32 `(sequences, length)`, and any features of the task.
            training: whether dropout is active.
        """
        raise NotImplementedError

    def scores_and_vectors(self, encoded: Mapping, inputs: Mapping):
        """Return the scores without dropout, and one vector per sequence, by default the mean of its tokens.

        Args:
            encoded: as for `call`.
            inputs: as for `call`.

        Returns:
            float32 `(sequences, ...)` and float32 `(sequences, hidden_dim)`.
        """
        vectors = mean_of_tokens(ops.cast(encoded["sequence_output"], "float32"), inputs["padding_mask"])
        return self(encoded, inputs, training=False), vectors


def mean_of_tokens(sequence, padding_mask):
    """Return the mean vector of the tokens of each sequence, including [CLS] and [SEP]: `(sequences, hidden_dim)`.

    Args:
        sequence: float32 `(sequences, length, hidden_dim)`.
        padding_mask: int32 `(sequences, length)`, 0 for padding.
    """
    mask = ops.cast(padding_mask, "float32")[:, :, None]
    return ops.sum(sequence * mask, axis=1) / ops.sum(mask, axis=1)
