"""Integrated gradients: contributions of words by gradients along a path from padding to the text.

Source: Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks", section 3. Only the word embedding follows
    the path, the embeddings of positions and segments stay, as do [CLS] and [SEP]; the integral is a Gauss-Legendre
    quadrature instead of a Riemann sum.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tfbert.encoder.bert import BertEncoder
from tfbert.explanation.batch import ExplainedBatch, Scores

_NUM_POINTS = 16
# Maximum number of tokens, with padding, whose gradients are computed at a time. All activations are kept for them,
# about half a megabyte per token of a BERT with 12 layers.
_MICRO_BATCH_TOKENS = 2048


def integrated_gradients(
    batch: ExplainedBatch,
    encoder: BertEncoder,
    forward: Scores,
    scores: Scores,
    is_explained: tf.Tensor,
    padding_id: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the contribution of each word, and how far their sum is from the change along the path.

    Args:
        batch: the records.
        encoder: the encoder of the model.
        forward: returns the scores of sequences, and calls the encoder, so that its embeddings can be replaced.
        scores: returns the same in micro-batches, for any number of sequences.
        is_explained: bool `(records,)`, whether to compute the contributions of a record; they are 0 otherwise.
        padding_id: the id of [PAD].

    Returns:
        float32 `(words,)`; and float32 `(records,)`, the difference as a fraction of the change.
    """
    sequences = tf.cast(tf.where(tf.gather(is_explained, batch.records))[:, 0], tf.int32)
    path = _Path(batch, encoder, forward, sequences, padding_id)
    contributions = path.integrate(path.weights() if batch.has_several else None)
    at_start = {name: tf.gather(values, sequences) for name, values in batch.packed.items()}
    at_start["token_ids"] = tf.where(tf.gather(batch.words, sequences) >= 0, padding_id, at_start["token_ids"])
    records = tf.range(batch.num_records)
    start_values = batch.values_of_copies(records, scores(at_start), tf.gather(batch.records, sequences), sequences)
    change = batch.values() - start_values
    total = tf.math.unsorted_segment_sum(contributions, batch.word_records, batch.num_records)
    return contributions, tf.math.divide_no_nan(tf.abs(total - change), tf.abs(change))


class _Path:
    """The points between padding and the texts of some sequences; a point of one sequence is a row.

    Args:
        batch: the records.
        encoder: the encoder.
        forward: returns the scores of sequences.
        sequences: int32 `(sequences,)`, the explained sequences of the batch.
        padding_id: the id of [PAD].
    """

    def __init__(
        self, batch: ExplainedBatch, encoder: BertEncoder, forward: Scores, sequences: tf.Tensor, padding_id: int
    ):
        self._batch, self._encoder, self._forward = batch, encoder, forward
        self._sequences, self._padding_id = sequences, padding_id
        nodes, weights = np.polynomial.legendre.leggauss(_NUM_POINTS)
        self._nodes, self._node_weights = ((tf.constant(x / 2, tf.float32)) for x in (nodes + 1, weights))
        self._num_rows = _NUM_POINTS * tf.shape(sequences)[0]

    def weights(self) -> tf.Tensor:
        """Return the gradient of the explained values at all rows by their scores, `(rows, ...)`."""
        shape = tf.concat([[self._num_rows], tf.shape(self._batch.scores)[1:]], axis=0)

        def step(rows: tf.Tensor, result: tf.Tensor) -> tf.Tensor:
            scores, *_ = self._scores(rows)
            return tf.tensor_scatter_nd_update(result, rows[:, None], scores)

        scores = self._loop(step, tf.zeros(shape))
        sequences, points = self._place(tf.range(self._num_rows))
        records = tf.gather(self._batch.records, sequences)
        copied = tf.range(self._batch.num_records * _NUM_POINTS) // _NUM_POINTS
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(scores)
            values = self._batch.explained.values(
                scores, records * _NUM_POINTS + points, self._batch.target.take(copied)
            )
        return tape.gradient(values, scores)

    def integrate(self, weights: tf.Tensor | None) -> tf.Tensor:
        """Return the contribution of each word, float32 `(words,)`.

        Args:
            weights: the weights of the scores, whose sum is differentiated; `None` differentiates the explained values
                of the rows, each of which is the only sequence of its record.
        """
        batch = self._batch

        def step(rows: tf.Tensor, contributions: tf.Tensor) -> tf.Tensor:
            sequences, points = self._place(rows)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                scores, embeddings, differences = self._scores(rows, tape)
                if weights is None:
                    target = batch.target.take(tf.gather(batch.records, sequences))
                    values = batch.explained.values(scores, tf.range(tf.shape(rows)[0]), target)
                else:
                    values = scores * tf.gather(weights, rows)
            gradient = _dense_gradient(tape, values, embeddings)
            by_token = tf.reduce_sum(gradient * differences, axis=-1)
            by_token *= tf.gather(self._node_weights, points)[:, None]
            words = tf.gather(batch.words, sequences)
            return contributions + tf.math.unsorted_segment_sum(by_token, words, batch.num_words)

        return self._loop(step, tf.zeros([batch.num_words]))

    def _place(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.gather(self._sequences, rows // _NUM_POINTS), rows % _NUM_POINTS

    def _scores(self, rows: tf.Tensor, tape: tf.GradientTape | None = None) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return the scores of rows, their word embeddings, and the differences between text and padding."""
        sequences, points = self._place(rows)
        packed = {name: tf.gather(values, sequences) for name, values in self._batch.packed.items()}
        table = self._encoder.token_embedding.embeddings.value
        padded = tf.where(tf.gather(self._batch.words, sequences) >= 0, self._padding_id, packed["token_ids"])
        start = tf.gather(table, padded)
        differences = tf.gather(table, packed["token_ids"]) - start
        embeddings = start + tf.gather(self._nodes, points)[:, None, None] * differences
        if tape is not None:
            tape.watch(embeddings)
        with _embeddings_in_use(self._encoder, embeddings):
            return self._forward(packed), embeddings, differences

    def _loop(self, step: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], initial: tf.Tensor) -> tf.Tensor:
        """Return the result of a step for each micro-batch of rows, each of which gets the result of the one before."""
        size = tf.maximum(1, _MICRO_BATCH_TOKENS // tf.maximum(1, tf.shape(self._batch.words)[1]))

        def body(first: tf.Tensor, result: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return first + size, step(tf.range(first, tf.minimum(first + size, self._num_rows)), result)

        _, result = tf.while_loop(
            lambda first, _: first < self._num_rows,
            body,
            (0, initial),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, *initial.shape[1:]])),
            parallel_iterations=1,
        )
        return result


class _GivenEmbeddings:
    """Word embeddings that are given instead of looked up."""

    def __init__(self, embeddings: tf.Tensor):
        self._embeddings = embeddings

    def look_up(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Return the embeddings, whatever the tokens."""
        return self._embeddings


@contextlib.contextmanager
def _embeddings_in_use(encoder: BertEncoder, embeddings: tf.Tensor) -> Iterator[None]:
    """Make the encoder read embeddings, and compute gradients also below frozen layers."""
    previous = encoder.token_lookup, encoder.num_frozen_layers
    encoder.token_lookup, encoder.num_frozen_layers = _GivenEmbeddings(embeddings), None
    try:
        yield
    finally:
        encoder.token_lookup, encoder.num_frozen_layers = previous


def _dense_gradient(tape: tf.GradientTape, values: tf.Tensor, embeddings: tf.Tensor) -> tf.Tensor:
    with warnings.catch_warnings():
        # TensorFlow warns that it makes the gradient of a lookup dense; here the lookup has few rows.
        warnings.filterwarnings("ignore", "Converting sparse IndexedSlices")
        return tape.gradient(values, embeddings)
