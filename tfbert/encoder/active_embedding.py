"""Active embedding: the token embeddings that the training split uses, trained in place of the whole table.

Of the 30,000 tokens in BERT's vocabulary, the texts of one domain use a few thousand. The others get no gradient, yet
an optimizer would update them and two moments of each in every step: half of all weights of a small encoder.
"""

import contextlib
from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from tfbert.encoder.bert import BertEncoder


class ActiveEmbedding:
    """The embeddings of the training split's tokens as a separate trainable variable.

    The rest of the table keeps its values and is not subject to weight decay. Optimizers that compute statistics of a
    whole matrix, such as LAMB and Adafactor, compute them on the active embeddings only.

    Args:
        model: a built model with a `backbone`.
        token_ids: sorted ids of the active tokens, without duplicates. Looking up any other id is an error.

    Raises:
        ValueError: a layer outside the backbone uses the token embedding too, such as the masked-word head. Its
            gradient for the table would be lost.
    """

    def __init__(self, model: keras.Model, token_ids: np.ndarray):
        self._encoder: BertEncoder = model.backbone
        self._table = self._encoder.token_embedding.embeddings
        for layer in _layers_outside(self._encoder, model):
            if any(variable is self._table for variable in layer.variables):
                raise ValueError(
                    f"{layer.name} is tied to the token embedding, so the whole table must be trained; expected a "
                    "model in which only the encoder uses it"
                )
        self._token_ids = tf.constant(token_ids, tf.int32)
        # All other ids get an index past the end, where a lookup fails.
        index_of_id = np.full(self._table.shape[0], len(token_ids), np.int32)
        index_of_id[token_ids] = np.arange(len(token_ids))
        self._index_of_id = tf.constant(index_of_id)
        self.vectors = keras.Variable(tf.gather(self._table.value, self._token_ids), name="active_embedding")

    def substitute(self, variables: Iterable[keras.Variable]) -> list[keras.Variable]:
        """Return variables with the active embeddings in place of the whole table."""
        return [self.vectors if variable is self._table else variable for variable in variables]

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Make functions that are traced in a `with` block look up tokens in the active embeddings."""
        self._encoder.token_lookup = self
        try:
            yield
        finally:
            self._encoder.token_lookup = None

    def look_up(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Return the embeddings of tokens: float32 `(batch, length, hidden_dim)` for integer `(batch, length)`."""
        return tf.gather(self.vectors.value, tf.gather(self._index_of_id, tf.cast(token_ids, tf.int32)))

    def read_table(self) -> None:
        """Set the active embeddings from the table."""
        self.vectors.assign(tf.gather(self._table.value, self._token_ids))

    def write_table(self) -> None:
        """Write the active embeddings into the table; the rest of the table stays as it is."""
        updated = tf.tensor_scatter_nd_update(self._table.value, self._token_ids[:, None], self.vectors.value)
        self._table.assign(updated)


def _layers_outside(encoder: BertEncoder, model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers of a model, and of models in it, without the encoder and its layers."""
    for layer in model.layers:
        if layer is encoder:
            continue
        if isinstance(layer, keras.Model):
            yield from _layers_outside(encoder, layer)
        else:
            yield layer
