"""Unit borders: where a labelled part of a text may begin or end.

`blanks`: a unit is what stands between whitespace, without the punctuation at its edges and split before apostrophes,
such as `@ada`, `Wal-Mart` or the `Ada` and `'s` of `(Ada's`. `words`: a unit is what BERT takes for a word. `anywhere`:
every character is a unit.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import tensorflow as tf

from tfbert.text.preprocessor import TokenizedText
from tfbert.text.spans import Span, cuts_word

Borders = Literal["blanks", "words", "anywhere"]

# What BERT takes for whitespace: Unicode's separators, tab and line ends.
_BLANKS = "".join(
    map(chr, [9, 10, 13, 32, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000])
)
_APOSTROPHES = "'’"
_EDGES = '.,;:!?…()[]{}<>"“”„«»‘`。，；：！？、（）《》「」【】' + _APOSTROPHES
# Up to this fraction of the spans may break a rule that all others keep.
_FEW = 0.01
_CHUNK_TEXTS = 2048


def continues_unit(codes: tf.RaggedTensor) -> tf.Tensor:
    """Return whether each character continues the unit of the previous one, for units between whitespace.

    Args:
        codes: ragged int32 `(batch, None)`, the characters of each text.

    Returns:
        bool `(characters of all texts,)`.
    """
    values = codes.flat_values
    size = tf.size(values)
    is_blank, is_edge, is_apostrophe = (_is_in(values, known) for known in (_BLANKS, _EDGES, _APOSTROPHES))
    # A text begins a chunk as a blank does.
    chunk = tf.cumsum(tf.cast(is_blank, tf.int32)) + tf.cast(codes.value_rowids(), tf.int32)
    num_chunks = size + tf.cast(codes.nrows(), tf.int32) + 1
    place = tf.range(size)
    core = tf.boolean_mask(place, ~is_blank & ~is_edge)
    of_core = tf.gather(chunk, core)
    first = tf.math.unsorted_segment_min(core, of_core, num_chunks)
    last = tf.math.unsorted_segment_max(core, of_core, num_chunks)
    inside = (place > tf.gather(first, chunk)) & (place <= tf.gather(last, chunk))
    return inside & ~is_blank & ~is_apostrophe


def borders_of(spans: Iterable[tuple[str, Span]]) -> Borders:
    """Return the strictest rule that all but a few spans keep.

    Args:
        spans: each with its text; those of a text follow each other.
    """
    total = num_in_chunks = num_in_words = 0
    by_text = (
        (text, [span for _, span in group]) for text, group in itertools.groupby(spans, key=lambda each: each[0])
    )
    while chunk := list(itertools.islice(by_text, _CHUNK_TEXTS)):
        codes = tf.strings.unicode_decode([text.encode("utf-8", "replace") for text, _ in chunk], "UTF-8")
        continues, begins = continues_unit(codes).numpy(), codes.row_starts().numpy()
        for (text, of_text), begin in zip(chunk, begins, strict=True):
            for span in of_text:
                positions = [position for position in span[:2] if position < len(text)]
                total += 1
                num_in_chunks += bool(continues[begin + np.asarray(positions, int)].any())
                num_in_words += any(cuts_word(text, position) for position in positions)
    if num_in_chunks <= _FEW * total:
        return "blanks"
    return "words" if num_in_words <= _FEW * total else "anywhere"


def continuing_tokens(
    text: TokenizedText, texts: tf.Tensor, borders: Borders, vocabulary: Sequence[str]
) -> tf.RaggedTensor:
    """Return whether each token continues the unit of the previous one: ragged bool `(records, None)`.

    Args:
        text: the tokens of one text per record, with offsets.
        texts: string `(records,)`, valid UTF-8.
        borders: the rule.
        vocabulary: the piece of each token id.
    """
    if borders == "blanks":
        codes = tf.strings.unicode_decode(texts, "UTF-8")
        begin = tf.gather(tf.cast(codes.row_starts(), tf.int32), tf.cast(text.ids.value_rowids(), tf.int32))
        flags = tf.gather(continues_unit(codes), begin + text.starts.flat_values)
    else:
        pieces = tf.constant([borders == "words" and piece.startswith("##") for piece in vocabulary])
        flags = tf.gather(pieces, text.ids.flat_values)
    return text.ids.with_flat_values(flags)


def _is_in(values: tf.Tensor, known: str) -> tf.Tensor:
    return tf.reduce_any(values[:, None] == tf.constant([ord(character) for character in known])[None, :], axis=1)
