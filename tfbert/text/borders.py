"""Where a labelled part of a text may begin or end: a text in, which of its characters go on with a unit out.

`blanks`: a unit is what stands between blanks, less the punctuation at its edges and parted before apostrophes, such as
`@ada`, `Wal-Mart` or the `Ada` and `'s` of `(Ada's`. `words`: a unit is what BERT takes for a word. `anywhere`: every
character is one.
"""

import re
from collections.abc import Iterable
from typing import Literal

import numpy as np
import tensorflow as tf

from tfbert.text.spans import Span, cuts_word

Borders = Literal["blanks", "words", "anywhere"]

# What BERT takes for a blank: Unicode's separators, tab and line ends.
_BLANKS = "".join(
    map(chr, [9, 10, 13, 32, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000])
)
_APOSTROPHES = "'’"
_EDGES = '.,;:!?…()[]{}<>"“”„«»‘`。，；：！？、（）《》「」【】' + _APOSTROPHES
_CHUNK, _APOSTROPHE = re.compile(f"[^{re.escape(_BLANKS)}]+"), re.compile(f"[{_APOSTROPHES}]")
# Up to this share of the spans may break a rule that all others keep.
_FEW = 0.01


def cuts_unit(text: str) -> np.ndarray:
    """Say of each character whether it goes on with a unit between blanks: bool `(characters,)`."""
    is_inside = np.zeros(len(text), bool)
    for chunk in _CHUNK.finditer(text):
        first = chunk.end() - len(chunk.group().lstrip(_EDGES))
        end = chunk.start() + len(chunk.group().rstrip(_EDGES))
        # Of punctuation alone nothing is left, and the end lies before the beginning.
        is_inside[first + 1 : end] = True
    for apostrophe in _APOSTROPHE.finditer(text):
        is_inside[apostrophe.start()] = False
    return is_inside


def cuts_unit_in_graph(codes: tf.RaggedTensor) -> tf.Tensor:
    """Say what `cuts_unit` says, for a batch.

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
        spans: each with its text.
    """
    total = num_in_chunks = num_in_words = 0
    of_text: tuple[str, np.ndarray] = ("", np.zeros(0, bool))
    for text, span in spans:
        if of_text[0] is not text:
            of_text = text, cuts_unit(text)
        total += 1
        num_in_chunks += any(position < len(text) and of_text[1][position] for position in span[:2])
        num_in_words += any(cuts_word(text, position) for position in span[:2])
    if num_in_chunks <= _FEW * total:
        return "blanks"
    return "words" if num_in_words <= _FEW * total else "anywhere"


def goes_on(text: str, starts: np.ndarray, borders: Borders) -> np.ndarray:
    """Say of each token whether it goes on with the unit of the one before: bool `(tokens,)`.

    Args:
        text: that the tokens are of.
        starts: int `(tokens,)`, first character of each.
        borders: rule.
    """
    if borders == "blanks":
        return cuts_unit(text)[starts] if len(starts) else np.zeros(0, bool)
    return np.array([borders == "words" and cuts_word(text, int(start)) for start in starts], bool)


def _is_in(values: tf.Tensor, known: str) -> tf.Tensor:
    return tf.reduce_any(values[:, None] == tf.constant([ord(character) for character in known])[None, :], axis=1)
