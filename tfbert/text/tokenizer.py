"""WordPiece inside the TensorFlow graph: strings in, ragged token ids out, on demand with their places in the text.

The splitting rules are those of the original BERT, so ids equal the reference tokenizer's; KerasNLP's `BertTokenizer`
keeps the vocabulary and does the WordPiece matching.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import keras_hub
import tensorflow as tf
import tensorflow_text as tf_text

# A longer word is one [UNK], as in the reference tokenizer.
_MAX_CHARACTERS_PER_WORD = 100

# What the reference drops before anything else: NUL, U+FFFD and every control, format, surrogate or private-use
# character, except the three that are blanks.
_DROPPED = r"[\x{FFFD}\x{00}-\x{08}\x{0B}\x{0C}\x{0E}-\x{1F}\x{7F}-\x{9F}\p{Cf}\p{Co}\p{Cs}]"
_BLANK = r"[\p{Z}\t\n\r]+"
_CJK = (
    r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}\x{2B740}-\x{2B81F}"
    r"\x{2B920}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]"
)
# All ASCII that is neither letter, digit nor blank counts as punctuation, then Unicode's own class.
_PUNCTUATION = r"[!-/:-@\[-`{-~]|\p{P}"
_DELIMITER = rf"{_BLANK}|{_PUNCTUATION}"


class _LongWordBertTokenizer(keras_hub.tokenizers.BertTokenizer):
    """`BertTokenizer` that counts a word's length in characters, not bytes.

    KerasNLP leaves tensorflow-text's limit of 100 bytes in place, which turns a 40-letter Thai word into [UNK].
    """

    def _set_vocabulary_tf(self):
        self._fast_word_piece = tf_text.FastWordpieceTokenizer(
            vocab=self.vocabulary,
            token_out_type=self.compute_dtype,
            suffix_indicator=self.suffix_indicator,
            unknown_token=self.oov_token,
            no_pretokenization=True,
            support_detokenization=True,
            max_bytes_per_word=4 * _MAX_CHARACTERS_PER_WORD,
        )


@dataclass(frozen=True)
class SpecialTokens:
    """The ids of BERT's special tokens in one vocabulary."""

    padding: int
    unknown: int
    start: int
    end: int
    mask: int


class Tokens(NamedTuple):
    """The word pieces of a batch of texts and where each came from; a tuple, so that functions and datasets take it.

    Args:
        ids: ragged int32 `(batch, None)`.
        starts: ragged int32 `(batch, None)`, the first Unicode character of each piece in the text as it was sent.
        ends: ragged int32 `(batch, None)`, exclusive, always after the start.
    """

    ids: tf.RaggedTensor
    starts: tf.RaggedTensor
    ends: tf.RaggedTensor


class Tokenizer:
    """Text to WordPiece ids, in graph or eagerly.

    Special tokens spelled out in a text (`[SEP]`) are plain characters here: a user's message cannot end its segment.

    Args:
        vocabulary: WordPieces by id, `##` before those that continue a word.
        lowercase: lower-case first, as for an uncased encoder.
        strip_accents: drop combining marks after decomposition; original uncased BERT does.
        split_on_cjk: make every CJK ideograph a word of its own.

    Raises:
        ValueError: the vocabulary lacks one of [PAD] [UNK] [CLS] [SEP] [MASK] or holds an entry twice.

    Source: google-research/bert `tokenization.py` and the `tokenizers` library's BERT normalizer, which ids are tested
    against. Ours differs in the final sigma, which the library does not know (the Python code does), and in characters
    newer than the library's Unicode, which it neither splits at, strips nor lower-cases.
    """

    def __init__(self, vocabulary: Sequence[str], *, lowercase: bool, strip_accents: bool, split_on_cjk: bool = True):
        missing = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if token not in vocabulary]
        if missing:
            raise ValueError(f"vocabulary of {len(vocabulary)} entries lacks {' '.join(missing)}")
        if len(set(vocabulary)) != len(vocabulary):
            seen: set[str] = set()
            twice = next(token for token in vocabulary if token in seen or seen.add(token))
            raise ValueError(f"vocabulary holds '{twice}' twice; ids would be ambiguous")
        self.vocabulary = list(vocabulary)
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.split_on_cjk = split_on_cjk
        self._word_pieces = _LongWordBertTokenizer(
            self.vocabulary, lowercase=False, strip_accents=False, split=False, dtype="int32"
        )
        # Called eagerly, KerasNLP's tokenizer answers with Python lists; inside a function it stays with tensors.
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

    def words(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Return normalised words and punctuation marks.

        Args:
            text: string `(batch,)`; bytes that are not UTF-8 are dropped like control characters.

        Returns:
            Ragged string `(batch, None)`.
        """
        return tf_text.regex_split(self._normalise(_valid(text)), _DELIMITER, _PUNCTUATION)

    def __call__(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Return WordPiece ids without special tokens.

        Args:
            text: string `(batch,)`.

        Returns:
            Ragged int32 `(batch, None)`.
        """
        return self._in_graph(text)

    def with_offsets(self, text: tf.Tensor) -> Tokens:
        """Return WordPiece ids without special tokens and the characters of the text that each piece came from.

        Positions count Unicode characters (code points, as Python does) of the text as sent; what is not UTF-8 counts
        as many as `bytes.decode(errors="replace")` gives. `text[start:end]` has all that became the piece and the
        accents and variation selectors right behind it that normalisation dropped, so that `Cafe` from `Café` is
        returned with its accent however that is written. Dropped control, format and private-use characters are
        inside where the piece goes on behind them and outside at its edges. Within a text, starts and ends never
        decrease. Pieces share a character that became several, as a Hangul syllable does. An [UNK] has its whole word.

        A word, a piece with all that continue it, gives the same ids when it is cut out and tokenized by itself. Known
        exceptions: a capital sigma whose word is joined to another by an apostrophe or the like is final or not by
        what follows there. Where accents are stripped, marks that decomposition puts into another order and that are
        not stripped (musical stems, Hangul tone marks) exchange places inside their word. A flag made of tag
        characters loses these at the end of a word, for they are format characters.

        Args:
            text: string `(batch,)`.

        Returns:
            Ids as `__call__` gives them, with their starts and ends. Should a text normalise to another length than
            its characters do one by one, each of its pieces has the whole text; no such text is known outside of
            locales with lower-casing rules of their own (Turkish, Lithuanian).

        Source: the alignments of the `tokenizers` library, which offsets are tested against. Ours differ in that they
        have the dropped marks at the end of a piece, and in that the stem of a composed musical note is the note's
        where a dropped mark follows: the library takes it for the mark's.
        """
        return self._in_graph_with_offsets(text)

    def trackables(self) -> list:
        """Return the objects a SavedModel has to own for this tokenizer to work after reloading."""
        return [self._word_pieces._fast_word_piece]

    def _normalise(self, text: tf.Tensor) -> tf.Tensor:
        text = tf.strings.regex_replace(text, _DROPPED, "")
        if self.split_on_cjk:
            text = tf.strings.regex_replace(text, _CJK, r" \0 ")
        if self.strip_accents:
            text = tf_text.normalize_utf8(text, "NFD")
            text = tf.strings.regex_replace(text, r"\p{Mn}", "")
        if self.lowercase:
            # ASCII first and by itself: the other way asks the process's locale, and in a Turkish one I is not i.
            text = tf.strings.lower(tf.strings.lower(text), encoding="utf-8")
        return text

    def _tokenize(self, text: tf.Tensor) -> tf.RaggedTensor:
        return self._word_pieces.tokenize(_without_long(self.words(text)))

    def _tokenize_with_offsets(self, text: tf.Tensor) -> Tokens:
        text = _valid(text)
        normalised = self._normalise(text)
        words, *bounds = tf_text.regex_split_with_offsets(normalised, _DELIMITER, _PUNCTUATION)
        # KerasNLP's wrapper of this gives no offsets.
        pieces, *within = self._word_pieces._fast_word_piece.tokenize_with_offsets(_without_long(words).flat_values)
        word_starts, word_ends = (tf.gather(bound.flat_values, pieces.value_rowids()) for bound in bounds)
        piece_starts, piece_ends = (tf.cast(offsets.flat_values, tf.int64) for offsets in within)
        ids = words.with_flat_values(pieces).merge_dims(1, 2)
        starts, ends = self._characters(
            text,
            normalised,
            rows=ids.value_rowids(),
            first=word_starts + piece_starts,
            # A long word went through the matcher as '[UNK]', so that the end found there is not the word's.
            last=tf.where(ids.flat_values == self.special.unknown, word_ends, word_starts + piece_ends) - 1,
        )
        return Tokens(ids, ids.with_flat_values(starts), ids.with_flat_values(ends))

    def _characters(
        self, text: tf.Tensor, normalised: tf.Tensor, *, rows: tf.Tensor, first: tf.Tensor, last: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Find the characters that bytes of the normalised texts came from.

        No op that servers link tells where normalisation moves a byte to. But its steps go character by character,
        other than choosing between two sigmas, both of two bytes, and ordering marks: so each character has as many
        bytes in the result as when normalised alone, and adding these up gives the places.

        Args:
            text: UTF-8 string `(batch,)`.
            normalised: string `(batch,)`, the same normalised.
            rows: int64 `(pieces,)`, the text that each piece is of.
            first: int64 `(pieces,)`, first byte of each in its normalised text.
            last: int64 `(pieces,)`, last byte of each.

        Returns:
            Starts and ends, int32 `(pieces,)`.
        """
        codes = tf.strings.unicode_decode(text, "UTF-8")
        different, index = tf.unique(codes.flat_values)
        alone = tf.strings.unicode_encode(different[:, tf.newaxis], "UTF-8")
        sizes = tf.strings.length(self._normalise(alone))
        # A mark that was dropped goes with what it stands on; where accents stay, it is in a word itself.
        base = ~tf.gather((sizes == 0) & tf.strings.regex_full_match(alone, r"\p{M}"), index)
        # All texts in one row from here on, characters as well as bytes.
        bytes_before = tf.cumsum(tf.pad(tf.cast(tf.gather(sizes, index), tf.int64), [[1, 0]]))
        num_characters = tf.size(index, tf.int64)
        next_base = tf.gather(
            tf.concat([tf.where(base)[:, 0], [num_characters]], 0), tf.cumsum(tf.cast(base, tf.int64))
        )
        row_starts, row_ends = codes.row_starts(), codes.row_limits()
        byte_starts, byte_ends = tf.gather(bytes_before, row_starts), tf.gather(bytes_before, row_ends)
        added_up = byte_ends - byte_starts == tf.cast(tf.strings.length(normalised), tf.int64)

        def character_at(byte: tf.Tensor) -> tf.Tensor:
            found = tf.searchsorted(bytes_before[1:], byte + tf.gather(byte_starts, rows), "right", tf.int64)
            return tf.minimum(found, num_characters - 1)

        row_starts, row_ends, added_up = (tf.gather(each, rows) for each in (row_starts, row_ends, added_up))
        starts = tf.where(added_up, character_at(first), row_starts)
        ends = tf.where(added_up, tf.minimum(tf.gather(next_base, character_at(last)), row_ends), row_ends)
        return tf.cast(starts - row_starts, tf.int32), tf.cast(ends - row_starts, tf.int32)


def _valid(text: tf.Tensor) -> tf.Tensor:
    return tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")


def _without_long(words: tf.RaggedTensor) -> tf.RaggedTensor:
    lengths = tf.strings.length(words.flat_values, unit="UTF8_CHAR")
    # The WordPiece matcher knows '[UNK]' as a vocabulary entry, so this needs no lookup of its own.
    return words.with_flat_values(tf.where(lengths > _MAX_CHARACTERS_PER_WORD, "[UNK]", words.flat_values))
