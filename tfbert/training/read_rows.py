"""An embedding in; the rows of it that a training reads, as a variable that is learned in its place, out.

Of the 30,000 tokens that BERT knows, the texts of one domain have a few thousand. The others get no gradient, yet an
optimizer would pass over them and over two moments of each in every update: half of all weights of a small encoder.
"""

import contextlib
from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf


class ReadRows:
    """Rows of an embedding that are learned apart from those which no text of the training split reads.

    What is not read keeps its value: it is not decayed either. Where an optimizer looks at a whole matrix, as LAMB and
    Adafactor do, it looks at these rows.

    Args:
        embedding: built.
        ids: of the rows, sorted, each once. To look up another one is an error.
    """

    def __init__(self, embedding: keras.layers.Embedding, ids: np.ndarray):
        self._embedding, self._table = embedding, embedding.embeddings
        self._ids = tf.constant(ids, tf.int32)
        # Behind the last row, where looking up fails.
        places = np.full(self._table.shape[0], len(ids), np.int32)
        places[ids] = np.arange(len(ids))
        self._places = tf.constant(places)
        self.learned = keras.Variable(tf.gather(self._table.value, self._ids), name="read_rows")

    def stand_in(self, variables: Iterable[keras.Variable]) -> list[keras.Variable]:
        """Return variables with the rows in the place of the whole table."""
        return [self.learned if variable is self._table else variable for variable in variables]

    @contextlib.contextmanager
    def looked_up(self) -> Iterator[None]:
        """Let the embedding look up in the rows inside a `with` block; what is traced there stays so."""
        self._embedding.call = self._look_up
        try:
            yield
        finally:
            del self._embedding.call

    def read(self) -> None:
        """Take the rows from the table."""
        self.learned.assign(tf.gather(self._table.value, self._ids))

    def write(self) -> None:
        """Put the rows into the table, whose other rows stay as they are."""
        self._table.assign(tf.tensor_scatter_nd_update(self._table.value, self._ids[:, None], self.learned.value))

    def _look_up(self, ids):
        found = tf.gather(self.learned.value, tf.gather(self._places, tf.cast(ids, tf.int32)))
        return tf.cast(found, self._embedding.compute_dtype)
