"""A batch of records to explain: their sequences, the word at each position, and copies in which words are missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import tensorflow as tf

from tfbert.tasks.base_explained import Explained, Target
from tfbert.text.preprocessor import Sequences
from tfbert.text.words import Words

# A function from packed sequences to scores, float32 `(sequences, ...)`.
Scores = Callable[[Mapping[str, tf.Tensor]], tf.Tensor]


@dataclass(frozen=True, kw_only=True)
class ExplainedBatch:
    """The sequences of a batch of records, and what is explained.

    Words are numbered across the inputs of all records.

    Args:
        packed: the inputs of the model, `(sequences, ...)`.
        scores: float32 `(sequences, ...)`, the scores of the sequences.
        records: int32 `(sequences,)`, the record of each sequence, ascending.
        words: int32 `(sequences, length)`, the word at each position; -1 for special tokens and padding.
        word_records: int32 `(words,)`, the record of each word.
        explained: what explanations of the task explain.
        target: the explained label of each record.
        has_several: whether a record may have several sequences.
    """

    packed: Mapping[str, tf.Tensor]
    scores: tf.Tensor
    records: tf.Tensor
    words: tf.Tensor
    word_records: tf.Tensor
    explained: Explained
    target: Target
    has_several: bool

    @property
    def num_records(self) -> tf.Tensor:
        """The number of records, int32."""
        return tf.shape(self.target.label_ids)[0]

    @property
    def num_words(self) -> tf.Tensor:
        """The number of words of all records, int32."""
        return tf.shape(self.word_records)[0]

    def select(self, sequences: tf.Tensor) -> "ExplainedBatch":
        """Return the batch with only some of its sequences: int32 `(sequences,)`, ascending."""
        packed = {name: tf.gather(values, sequences) for name, values in self.packed.items()}
        scores, records, words = (tf.gather(values, sequences) for values in (self.scores, self.records, self.words))
        return replace(self, packed=packed, scores=scores, records=records, words=words, has_several=False)

    def values(self) -> tf.Tensor:
        """Return the explained value of each record, float32 `(records,)`."""
        return self.explained.values(self.scores, self.records, self.target)

    def values_of_copies(
        self, copied: tf.Tensor, changed_scores: tf.Tensor, changed_copies: tf.Tensor, changed_sequences: tf.Tensor
    ) -> tf.Tensor:
        """Return the explained value of copies of records in which some sequences are changed, float32 `(copies,)`.

        Args:
            copied: int32 `(copies,)`, the record of each copy.
            changed_scores: float32 `(changed, ...)`, the scores of changed sequences.
            changed_copies: int32 `(changed,)`, the copy to which each belongs.
            changed_sequences: int32 `(changed,)`, the sequence that each replaces.
        """
        num_sequences = tf.math.unsorted_segment_sum(tf.ones_like(self.records), self.records, self.num_records)
        first = tf.cumsum(num_sequences, exclusive=True)
        sequences = tf.ragged.range(tf.gather(first, copied), tf.gather(first + num_sequences, copied))
        copy_starts = tf.cast(sequences.row_starts(), tf.int32)
        in_record = changed_sequences - tf.gather(first, tf.gather(copied, changed_copies))
        rows = tf.gather(copy_starts, changed_copies) + in_record
        changed = tf.shape(self.records)[0] + tf.range(tf.shape(rows)[0])
        index = tf.tensor_scatter_nd_update(sequences.flat_values, rows[:, None], changed)
        scores = tf.gather(tf.concat([self.scores, changed_scores], axis=0), index)
        return self.explained.values(scores, tf.cast(sequences.value_rowids(), tf.int32), self.target.take(copied))


def words_at_positions(sequences: Sequences, words: Mapping[str, Words], length: tf.Tensor) -> tf.Tensor:
    """Return the word at each position of token sequences, int32 `(sequences, length)`; -1 where there is none.

    Args:
        sequences: the sequences, with one text or two as packed by the preprocessor.
        words: the words of each text of `sequences.texts`, in the same order; the words of a text after the first are
            numbered after those of the texts before it.
        length: the number of positions.
    """
    row = tf.cast(sequences.token_ids.value_rowids(), tf.int32)
    position = tf.range(tf.size(row)) - tf.gather(tf.cast(sequences.token_ids.row_starts(), tf.int32), row)
    is_last = position == tf.gather(tf.cast(sequences.token_ids.row_lengths(), tf.int32), row) - 1
    second_start = tf.gather(sequences.second_starts, row)
    segments = (
        ((position > 0) & (position < second_start - 1), position - 1),
        ((position >= second_start) & ~is_last, position - second_start),
    )
    record = row if sequences.records is None else tf.gather(sequences.records, row)
    result, num_words = tf.fill(tf.shape(row), -1), 0
    for (is_inside, in_segment), (name, text) in zip(segments, sequences.texts.items(), strict=False):
        starts = tf.cast(text.ids.row_starts(), tf.int32)
        token = tf.gather(starts, record if text.records is None else row) + in_segment
        if sequences.windows is not None:
            token += tf.gather(sequences.windows.starts, row)
        # A position outside the segment may point anywhere.
        of_tokens = tf.pad(words[name].of_tokens, [[0, 1]])
        result = tf.where(is_inside, num_words + tf.gather(of_tokens, tf.where(is_inside, token, 0)), result)
        num_words += tf.shape(words[name].texts)[0]
    return sequences.token_ids.with_flat_values(result).to_tensor(-1, shape=tf.stack([-1, tf.cast(length, tf.int64)]))
