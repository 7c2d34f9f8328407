"""Words of a text as a reader sees them, with character positions, computed in the graph for explanations.

A word is a run of characters between whitespace, without the punctuation at its edges, such as `don't`, `Wal-Mart` or
`3.14`. Punctuation at the edges is a word of its own, a repeated mark such as `!!!` only one. Every CJK ideograph is a
word, and East Asian punctuation always ends one. What the tokenizer cannot divide is not divided: an emoji joined to a
letter is part of that word.
"""

from dataclasses import dataclass

import tensorflow as tf

from tfbert.text.borders import PUNCTUATION, WHITESPACE, inside_chunks, is_in
from tfbert.text.spans import CJK
from tfbert.text.tokenizer import Tokenizer

# Punctuation that is never part of a word.
_EAST_ASIAN = "。，；：！？、（）《》「」【】『』"


@dataclass(frozen=True)
class Words:
    """The words of a batch of texts, in order.

    Args:
        of_tokens: int32 `(tokens of all texts,)`, the word of each token.
        texts: int32 `(words,)`, the text of each word, ascending.
        starts: int32 `(words,)`, the first Unicode character of each word in its text.
        ends: int32 `(words,)`, the exclusive end.
        strings: string `(words,)`, the characters.
    """

    of_tokens: tf.Tensor
    texts: tf.Tensor
    starts: tf.Tensor
    ends: tf.Tensor
    strings: tf.Tensor


def words_of(texts: tf.Tensor, tokenizer: Tokenizer) -> Words:
    """Return the words of texts that have at least one word piece; the encoder does not see any others.

    Args:
        texts: string `(batch,)`; invalid UTF-8 counts as by `Tokenizer.with_offsets`.
        tokenizer: the tokenizer of the model.
    """
    tokens = tokenizer.with_offsets(texts)
    codes = tf.strings.unicode_decode(valid_utf8(texts), "UTF-8")
    text, starts, ends = (
        tf.cast(tokens.ids.value_rowids(), tf.int32),
        tokens.starts.flat_values,
        tokens.ends.flat_values,
    )
    unit = tf.gather(_units(codes), tf.gather(tf.cast(codes.row_starts(), tf.int32), text) + starts)
    # Pieces that share a character, such as a Hangul syllable, cannot be told apart.
    is_separate = (text[1:] != text[:-1]) | ((unit[1:] != unit[:-1]) & (starts[1:] >= ends[:-1]))
    is_first = tf.concat([tf.ones_like(text[:1], tf.bool), is_separate], axis=0)
    word = tf.cumsum(tf.cast(is_first, tf.int32)) - 1
    num_words = tf.reduce_sum(tf.cast(is_first, tf.int32))
    word_texts, word_starts = tf.boolean_mask(text, is_first), tf.boolean_mask(starts, is_first)
    word_ends = tf.math.unsorted_segment_max(ends, word, num_words)
    return Words(word, word_texts, word_starts, word_ends, substrings(codes, word_texts, word_starts, word_ends))


def substrings(codes: tf.RaggedTensor, texts: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor) -> tf.Tensor:
    """Return parts of texts: string `(parts,)`. Unlike this function, `tf.strings.substr` copies whole texts.

    Args:
        codes: ragged int32 `(batch, None)`, the code points of each text.
        texts: int32 `(parts,)`, the text of each part.
        starts: int32 `(parts,)`, the first character of each part in its text.
        ends: int32 `(parts,)`, the exclusive end.
    """
    begin = tf.gather(tf.cast(codes.row_starts(), tf.int32), texts)
    positions = tf.ragged.range(begin + starts, begin + ends)
    characters = positions.with_flat_values(tf.gather(codes.flat_values, positions.flat_values))
    return tf.strings.unicode_encode(characters, "UTF-8")


def valid_utf8(texts: tf.Tensor) -> tf.Tensor:
    """Return texts with U+FFFD in place of invalid UTF-8, as in the tokenizer, so that positions agree."""
    return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")


def _units(codes: tf.RaggedTensor) -> tf.Tensor:
    """Return the unit of each character, int32 `(characters of all texts,)`, which only grows. Whitespace has its own.

    A new unit does not begin at a new text; texts must be told apart separately.
    """
    values = codes.flat_values
    is_ideograph = tf.reduce_any(tf.stack([(values >= first) & (values <= last) for first, last in CJK]), axis=0)
    is_single = is_ideograph | is_in(values, _EAST_ASIAN)
    follows_single = tf.concat([tf.zeros_like(is_single[:1]), is_single[:-1]], axis=0)
    begins_chunk = is_in(values, WHITESPACE) | is_single | follows_single
    repeats = tf.concat([tf.zeros_like(is_single[:1]), values[1:] == values[:-1]], axis=0)
    repeats &= is_in(values, PUNCTUATION)
    continues = (inside_chunks(codes, begins_chunk) & ~begins_chunk) | repeats
    return tf.cumsum(tf.cast(~continues, tf.int32))
