"""The part of the token embedding that a training reads, learned in place of the whole table.

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
    """The rows of a token embedding for the tokens of the training split, as a trainable variable of their own.

    All other rows keep their values: they are not decayed either. Where an optimizer looks at a whole matrix, as LAMB
    and Adafactor do, it looks at these rows.

    Args:
        model: built, with a `backbone`.
        token_ids: ids of the rows, sorted, each once. Looking up any other id is an error.

    Raises:
        ValueError: a layer outside the backbone uses the token embedding too, such as the head for masked words. Its
            gradient for the table would be lost.
    """

    def __init__(self, model: keras.Model, token_ids: np.ndarray):
        self._encoder: BertEncoder = model.backbone
        self._table = self._encoder.token_embedding.embeddings
        for layer in model.layers:
            if layer is not self._encoder and any(variable is self._table for variable in layer.variables):
                raise ValueError(
                    f"{layer.name} is tied to the token embedding, so that all of the table must be trained; expected "
                    "a model in which only the encoder reads it"
                )
        self._token_ids = tf.constant(token_ids, tf.int32)
        # Other ids point past the last row, where a lookup fails.
        rows = np.full(self._table.shape[0], len(token_ids), np.int32)
        rows[token_ids] = np.arange(len(token_ids))
        self._row_of_id = tf.constant(rows)
        self.rows = keras.Variable(tf.gather(self._table.value, self._token_ids), name="active_embedding")

    def substitute(self, variables: Iterable[keras.Variable]) -> list[keras.Variable]:
        """Return variables with the rows in place of the whole table."""
        return [self.rows if variable is self._table else variable for variable in variables]

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Let what is traced in a `with` block look up tokens in the rows."""
        self._encoder.token_lookup = self
        try:
            yield
        finally:
            self._encoder.token_lookup = None

    def look_up(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Return the rows of tokens: float32 `(batch, length, hidden_dim)` for integer `(batch, length)`."""
        return tf.gather(self.rows.value, tf.gather(self._row_of_id, tf.cast(token_ids, tf.int32)))

    def read_table(self) -> None:
        """Set the rows from the table."""
        self.rows.assign(tf.gather(self._table.value, self._token_ids))

    def write_table(self) -> None:
        """Write the rows into the table; its other rows stay as they are."""
        updated = tf.tensor_scatter_nd_update(self._table.value, self._token_ids[:, None], self.rows.value)
        self._table.assign(updated)
