"""Base class of heads: layers on the encoder's output that return scores."""

from collections.abc import Mapping

import keras


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
