"""Unit borders: the positions in a text at which a labelled span may begin or end.

Three rules define the units between borders:

- `whitespace`: chunks between whitespace, without the punctuation at their edges and split before apostrophes, such as
  `@ada`, `Wal-Mart`, or the `Ada` and `'s` of `(Ada's`.
- `words`: the words of BERT's tokenizer.
- `anywhere`: single characters.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np
import tensorflow as tf

from tfbert.text.preprocessor import TokenizedText
from tfbert.text.spans import Span, cuts_word

Borders = Literal["whitespace", "words", "anywhere"]

# Characters that BERT's tokenizer treats as whitespace: Unicode's separators, TAB and line ends.
WHITESPACE = "".join(
    map(chr, [9, 10, 13, 32, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000])
)
_APOSTROPHES = "'’"
PUNCTUATION = '.,;:!?…()[]{}<>"“”„«»‘`。，；：！？、（）《》「」【】' + _APOSTROPHES
# Maximum fraction of spans that may violate the chosen rule.
_MAX_VIOLATING_FRACTION = 0.01
_CHUNK_TEXTS = 2048


def continues_unit(codes: tf.RaggedTensor) -> tf.Tensor:
    """Return whether each character continues the unit of the previous one under the rule `whitespace`.

    Args:
        codes: ragged int32 `(batch, None)`, the code points of each text.

    Returns:
        bool `(characters of all texts,)`.
    """
    values = codes.flat_values
    is_whitespace, is_apostrophe = is_in(values, WHITESPACE), is_in(values, _APOSTROPHES)
    return inside_chunks(codes, is_whitespace) & ~is_whitespace & ~is_apostrophe


def inside_chunks(codes: tf.RaggedTensor, begins_chunk: tf.Tensor) -> tf.Tensor:
    """Return whether each character lies inside its chunk, apart from its first one and from punctuation at its edges.

    Args:
        codes: ragged int32 `(batch, None)`, the code points of each text.
        begins_chunk: bool `(characters of all texts,)`, whether a chunk begins at the character; every text begins one.

    Returns:
        bool `(characters of all texts,)`.
    """
    values = codes.flat_values
    size = tf.size(values)
    is_edge = is_in(values, WHITESPACE) | is_in(values, PUNCTUATION)
    chunk = tf.cumsum(tf.cast(begins_chunk, tf.int32)) + tf.cast(codes.value_rowids(), tf.int32)
    num_chunks = size + tf.cast(codes.nrows(), tf.int32) + 1
    position = tf.range(size)
    core_position = tf.boolean_mask(position, ~is_edge)
    core_chunk = tf.gather(chunk, core_position)
    first = tf.math.unsorted_segment_min(core_position, core_chunk, num_chunks)
    last = tf.math.unsorted_segment_max(core_position, core_chunk, num_chunks)
    return (position > tf.gather(first, chunk)) & (position <= tf.gather(last, chunk))


def borders_of(spans: Iterable[tuple[str, Span]]) -> Borders:
    """Return the strictest rule that at least 99 % of the spans satisfy.

    Args:
        spans: pairs of text and span; the spans of a text must be consecutive.
    """
    num_spans = num_in_chunks = num_in_words = 0
    by_text = (
        (text, [span for _, span in pairs]) for text, pairs in itertools.groupby(spans, key=lambda pair: pair[0])
    )
    while chunk := list(itertools.islice(by_text, _CHUNK_TEXTS)):
        codes = tf.strings.unicode_decode([text.encode("utf-8", "replace") for text, _ in chunk], "UTF-8")
        continues, text_starts = continues_unit(codes).numpy(), codes.row_starts().numpy()
        for (text, text_spans), text_start in zip(chunk, text_starts, strict=True):
            for span in text_spans:
                positions = [position for position in (span.start, span.end) if position < len(text)]
                num_spans += 1
                num_in_chunks += bool(continues[text_start + np.asarray(positions, int)].any())
                num_in_words += any(cuts_word(text, position) for position in positions)
    if num_in_chunks <= _MAX_VIOLATING_FRACTION * num_spans:
        return "whitespace"
    return "words" if num_in_words <= _MAX_VIOLATING_FRACTION * num_spans else "anywhere"


def continuing_tokens(
    text: TokenizedText, texts: tf.Tensor, borders: Borders, vocabulary: Sequence[str]
) -> tf.RaggedTensor:
    """Return whether each token continues the unit of the previous one: ragged bool `(records, None)`.

    Args:
        text: the tokens of one text per record, with offsets.
        texts: string `(records,)`, valid UTF-8.
        borders: the rule.
        vocabulary: the word piece of each token id.

    Raises:
        ValueError: the rule is unknown.
    """
    if borders not in get_args(Borders):
        raise ValueError(f"borders {borders!r}: expected one of {', '.join(get_args(Borders))}")
    if borders == "whitespace":
        codes = tf.strings.unicode_decode(texts, "UTF-8")
        text_starts = tf.gather(tf.cast(codes.row_starts(), tf.int32), tf.cast(text.ids.value_rowids(), tf.int32))
        flags = tf.gather(continues_unit(codes), text_starts + text.starts.flat_values)
    else:
        is_continuation = tf.constant([borders == "words" and piece.startswith("##") for piece in vocabulary])
        flags = tf.gather(is_continuation, text.ids.flat_values)
    return text.ids.with_flat_values(flags)


def is_in(values: tf.Tensor, characters: str) -> tf.Tensor:
    """Return whether each code point is that of one of some characters: bool, the shape of `values`."""
    return tf.reduce_any(values[:, None] == tf.constant([ord(character) for character in characters])[None, :], axis=1)
