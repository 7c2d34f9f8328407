"""Occlusion: the contribution of a word is what the explained value loses if the word is replaced by [MASK].

Source: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2, for occlusion;
    Li et al. 2016, "Understanding Neural Networks through Representation Erasure", for words and log-odds.
"""

import tensorflow as tf

from tfbert.explanation.batch import ExplainedBatch, Scores


def occlusion(batch: ExplainedBatch, scores: Scores, is_explained: tf.Tensor, mask_id: int) -> tf.Tensor:
    """Return the contribution of each word, float32 `(words,)`; 0 for words that the encoder does not read.

    Args:
        batch: the records.
        scores: returns the scores of any number of sequences.
        is_explained: bool `(records,)`, whether to compute the contributions of a record; they are 0 otherwise.
        mask_id: the id of [MASK].
    """
    previous = tf.pad(batch.words, [[0, 0], [1, 0]], constant_values=-1)[:, :-1]
    begins_word = (batch.words >= 0) & (batch.words != previous)
    begins_word &= tf.gather(is_explained, batch.records)[:, None]
    places = tf.where(begins_word)
    words, sequences = tf.gather_nd(batch.words, places), tf.cast(places[:, 0], tf.int32)
    changed = {name: tf.gather(values, sequences) for name, values in batch.packed.items()}
    is_occluded = tf.gather(batch.words, sequences) == words[:, None]
    changed["token_ids"] = tf.where(is_occluded, mask_id, changed["token_ids"])
    occluded = batch.values_of_copies(batch.word_records, scores(changed), words, sequences)
    return tf.gather(batch.values(), batch.word_records) - occluded
