"""In-graph WordPiece tokenizer with character offsets.

The splitting rules are those of the original BERT, so ids equal those of the reference tokenizer. tensorflow-text's
`FastWordpieceTokenizer` does the WordPiece matching, as in KerasNLP's `BertTokenizer`, which cannot change the limit on
the length of a word and returns no offsets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf
import tensorflow_text as tf_text

from tfbert.text.tokenizer_rules import TokenizerRules

# Longer words become one [UNK], as in the reference tokenizer.
_MAX_CHARACTERS_PER_WORD = 100

# Characters that the reference drops: NUL, U+FFFD and every control, format, surrogate or private-use character, except
# TAB, LF and CR, which are whitespace.
_DROPPED = r"[\x{FFFD}\x{00}-\x{08}\x{0B}\x{0C}\x{0E}-\x{1F}\x{7F}-\x{9F}\p{Cf}\p{Co}\p{Cs}]"
_WHITESPACE = r"[\p{Z}\t\n\r]+"
_CJK = (
    r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}\x{2B740}-\x{2B81F}"
    r"\x{2B920}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]"
)
# ASCII characters other than letters, digits and whitespace, and Unicode's punctuation class.
_PUNCTUATION = r"[!-/:-@\[-`{-~]|\p{P}"
_DELIMITER = rf"{_WHITESPACE}|{_PUNCTUATION}"


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of BERT's special tokens in a vocabulary."""

    padding: int
    unknown: int
    start: int
    end: int
    mask: int


class Tokens(NamedTuple):
    """Word pieces of a batch of texts with their character offsets.

    A tuple, because TensorFlow functions and datasets accept tuples.

    Args:
        ids: ragged int32 `(batch, None)`.
        starts: ragged int32 `(batch, None)`, the first Unicode character of each piece in the original text.
        ends: ragged int32 `(batch, None)`, the exclusive end of each piece, always greater than the start.
    """

    ids: tf.RaggedTensor
    starts: tf.RaggedTensor
    ends: tf.RaggedTensor


class Tokenizer:
    """WordPiece tokenizer that runs in a graph or eagerly.

    Special tokens written in a text (`[SEP]`) are plain characters, so a user's message cannot end its segment.

    Args:
        vocabulary: the word pieces in the order of their ids; pieces that continue a word begin with `##`.
        lowercase: whether to lower-case the text, as for an uncased encoder.
        strip_accents: whether to drop combining marks after decomposition, as for the original uncased BERT.
        split_on_cjk: whether every CJK ideograph is a separate word.

    Raises:
        ValueError: the vocabulary lacks one of [PAD] [UNK] [CLS] [SEP] [MASK] or contains a duplicate.

    Source: google-research/bert `tokenization.py` and the BERT normalizer of the `tokenizers` library, against which
    ids are tested. Ours differs in the final sigma, which the Python code supports but the library does not, and in
    characters newer than the library's Unicode version, which it neither splits at, strips nor lower-cases.
    """

    def __init__(self, vocabulary: Sequence[str], *, lowercase: bool, strip_accents: bool, split_on_cjk: bool = True):
        missing = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if token not in vocabulary]
        if missing:
            raise ValueError(f"vocabulary of {len(vocabulary)} entries lacks {' '.join(missing)}")
        if len(set(vocabulary)) != len(vocabulary):
            previous: set[str] = set()
            duplicate = next(token for token in vocabulary if token in previous or previous.add(token))
            raise ValueError(f"vocabulary contains '{duplicate}' twice; ids would be ambiguous")
        self.vocabulary = list(vocabulary)
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.split_on_cjk = split_on_cjk
        self._word_pieces = tf_text.FastWordpieceTokenizer(
            vocab=self.vocabulary,
            token_out_type=tf.int32,
            unknown_token="[UNK]",
            no_pretokenization=True,
            # The default of 100 bytes would turn a 40-letter Thai word into [UNK].
            max_bytes_per_word=4 * _MAX_CHARACTERS_PER_WORD,
        )
        signature = [tf.TensorSpec([None], tf.string)]
        self._in_graph = tf.function(self._tokenize, input_signature=signature, autograph=False)
        self._in_graph_with_offsets = tf.function(
            self._tokenize_with_offsets, input_signature=signature, autograph=False
        )
        index = self.vocabulary.index
        self.special = SpecialTokens(
            padding=index("[PAD]"),
            unknown=index("[UNK]"),
            start=index("[CLS]"),
            end=index("[SEP]"),
            mask=index("[MASK]"),
        )

    @property
    def rules(self) -> TokenizerRules:
        """The normalization rules."""
        return TokenizerRules(self.lowercase, self.strip_accents, self.split_on_cjk)

    def words(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Return normalized words and punctuation marks.

        Args:
            text: string `(batch,)`; bytes that are not UTF-8 are dropped like control characters.

        Returns:
            Ragged string `(batch, None)`.
        """
        return tf_text.regex_split(self._normalize(_valid(text)), _DELIMITER, _PUNCTUATION)

    def __call__(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Return WordPiece ids without special tokens.

        Args:
            text: string `(batch,)`.

        Returns:
            Ragged int32 `(batch, None)`.
        """
        return self._in_graph(text)

    def with_offsets(self, text: tf.Tensor) -> Tokens:
        """Return WordPiece ids without special tokens, and the range of characters from which each piece was made.

        Positions count the Unicode code points of the original text, as Python does; invalid UTF-8 counts as the number
        of characters that `bytes.decode(errors="replace")` returns. `text[start:end]` contains everything that became
        the piece, and the accents and variation selectors directly after it that normalization dropped: the range of
        `Cafe` from `Café` includes the accent, whether composed or not. Dropped control, format and private-use
        characters belong to a piece that continues after them, but not at its edges. Within a text, starts and ends
        never decrease. Pieces share a character that became several, such as a Hangul syllable. The range of an [UNK]
        is its whole word.

        A word, that is, a piece with all its continuations, has the same ids if it is tokenized separately. There are
        three known exceptions. Whether a capital sigma is final depends on the next word if an apostrophe or a similar
        character joins the two. If accents are stripped, marks that decomposition reorders and that are not stripped
        (musical stems, Hangul tone marks) swap positions within their word. A flag made of tag characters loses them at
        the end of a word, because they are format characters.

        Args:
            text: string `(batch,)`.

        Returns:
            The ids that `__call__` returns, with their starts and ends. If the normalized length of a text differs from
            the sum over its characters, the range of each of its pieces is the whole text; no such text is known
            outside locales with special lower-casing rules (Turkish, Lithuanian).

        Source: the alignments of the `tokenizers` library, against which offsets are tested. Unlike these, ours include
        the dropped marks at the end of a piece, and assign the stem of a composed musical note to the note if a dropped
        mark follows; the library assigns it to the mark.
        """
        return self._in_graph_with_offsets(text)

    def trackables(self) -> list:
        """Return the objects that a SavedModel must track for this tokenizer to work after reloading."""
        return [self._word_pieces]

    def _normalize(self, text: tf.Tensor) -> tf.Tensor:
        text = tf.strings.regex_replace(text, _DROPPED, "")
        if self.split_on_cjk:
            text = tf.strings.regex_replace(text, _CJK, r" \0 ")
        if self.strip_accents:
            text = tf_text.normalize_utf8(text, "NFD")
            text = tf.strings.regex_replace(text, r"\p{Mn}", "")
        if self.lowercase:
            # ASCII first: Unicode lower-casing depends on the locale, and in a Turkish one I does not become i.
            text = tf.strings.lower(tf.strings.lower(text), encoding="utf-8")
        return text

    def _tokenize(self, text: tf.Tensor) -> tf.RaggedTensor:
        return self._word_pieces.tokenize(_without_long(self.words(text))).merge_dims(1, 2)

    def _tokenize_with_offsets(self, text: tf.Tensor) -> Tokens:
        text = _valid(text)
        normalized = self._normalize(text)
        words, *bounds = tf_text.regex_split_with_offsets(normalized, _DELIMITER, _PUNCTUATION)
        pieces, *offsets_in_words = self._word_pieces.tokenize_with_offsets(_without_long(words).flat_values)
        word_starts, word_ends = (tf.gather(bound.flat_values, pieces.value_rowids()) for bound in bounds)
        piece_starts, piece_ends = (tf.cast(offsets.flat_values, tf.int64) for offsets in offsets_in_words)
        ids = words.with_flat_values(pieces).merge_dims(1, 2)
        starts, ends = self._characters(
            text,
            normalized,
            text_index=ids.value_rowids(),
            first=word_starts + piece_starts,
            # Long words are replaced by '[UNK]' before matching, so the end of the piece is not that of the word.
            last=tf.where(ids.flat_values == self.special.unknown, word_ends, word_starts + piece_ends) - 1,
        )
        return Tokens(ids, ids.with_flat_values(starts), ids.with_flat_values(ends))

    def _characters(
        self, text: tf.Tensor, normalized: tf.Tensor, *, text_index: tf.Tensor, first: tf.Tensor, last: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the ranges of characters from which byte ranges of the normalized texts were made.

        No op that model servers support returns the offsets of normalization. However, normalization works character by
        character, except for the choice between two sigmas, both of two bytes, and the order of marks. So each
        character has the same number of bytes as when it is normalized separately, and the cumulative sum of these
        numbers gives the offsets.

        Args:
            text: UTF-8 string `(batch,)`.
            normalized: string `(batch,)`, the normalized texts.
            text_index: int64 `(pieces,)`, the index of the text of each piece.
            first: int64 `(pieces,)`, the first byte of each piece in its normalized text.
            last: int64 `(pieces,)`, the last byte of each piece.

        Returns:
            Starts and ends, int32 `(pieces,)`.
        """
        codes = tf.strings.unicode_decode(text, "UTF-8")
        distinct_codes, index = tf.unique(codes.flat_values)
        characters = tf.strings.unicode_encode(distinct_codes[:, tf.newaxis], "UTF-8")
        sizes = tf.strings.length(self._normalize(characters))
        # A dropped mark belongs to its base character; if accents are kept, the mark is part of a word.
        base = ~tf.gather((sizes == 0) & tf.strings.regex_full_match(characters, r"\p{M}"), index)
        # The following positions are those in the concatenation of all texts.
        bytes_before = tf.cumsum(tf.pad(tf.cast(tf.gather(sizes, index), tf.int64), [[1, 0]]))
        num_characters = tf.size(index, tf.int64)
        next_base = tf.gather(
            tf.concat([tf.where(base)[:, 0], [num_characters]], 0), tf.cumsum(tf.cast(base, tf.int64))
        )
        text_starts, text_ends = codes.row_starts(), codes.row_limits()
        byte_starts, byte_ends = tf.gather(bytes_before, text_starts), tf.gather(bytes_before, text_ends)
        is_aligned = byte_ends - byte_starts == tf.cast(tf.strings.length(normalized), tf.int64)

        def character_at(byte: tf.Tensor) -> tf.Tensor:
            character = tf.searchsorted(bytes_before[1:], byte + tf.gather(byte_starts, text_index), "right", tf.int64)
            return tf.minimum(character, num_characters - 1)

        text_starts, text_ends, is_aligned = (
            tf.gather(values, text_index) for values in (text_starts, text_ends, is_aligned)
        )
        starts = tf.where(is_aligned, character_at(first), text_starts)
        ends = tf.where(is_aligned, tf.minimum(tf.gather(next_base, character_at(last)), text_ends), text_ends)
        return tf.cast(starts - text_starts, tf.int32), tf.cast(ends - text_starts, tf.int32)


def _valid(text: tf.Tensor) -> tf.Tensor:
    return tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")


def _without_long(words: tf.RaggedTensor) -> tf.RaggedTensor:
    lengths = tf.strings.length(words.flat_values, unit="UTF8_CHAR")
    # '[UNK]' is an entry of the vocabulary, so the WordPiece matcher returns its id.
    return words.with_flat_values(tf.where(lengths > _MAX_CHARACTERS_PER_WORD, "[UNK]", words.flat_values))
