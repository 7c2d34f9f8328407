"""WordPiece inside the TensorFlow graph: strings in, ragged token ids out.

The splitting rules are those of the original BERT, so ids equal the reference tokenizer's; KerasNLP's `BertTokenizer`
keeps the vocabulary and does the WordPiece matching.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
        self._in_graph = tf.function(self._tokenize, input_signature=[tf.TensorSpec([None], tf.string)])
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
        text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")
        text = tf.strings.regex_replace(text, _DROPPED, "")
        if self.split_on_cjk:
            text = tf.strings.regex_replace(text, _CJK, r" \0 ")
        if self.strip_accents:
            text = tf_text.normalize_utf8(text, "NFD")
            text = tf.strings.regex_replace(text, r"\p{Mn}", "")
        if self.lowercase:
            text = tf.strings.lower(text, encoding="utf-8")
        return tf_text.regex_split(text, rf"{_BLANK}|{_PUNCTUATION}", _PUNCTUATION)

    def __call__(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Return WordPiece ids without special tokens.

        Args:
            text: string `(batch,)`.

        Returns:
            Ragged int32 `(batch, None)`.
        """
        return self._in_graph(text)

    def _tokenize(self, text: tf.Tensor) -> tf.RaggedTensor:
        words = self.words(text)
        lengths = tf.strings.length(words.flat_values, unit="UTF8_CHAR")
        # The WordPiece matcher knows '[UNK]' as a vocabulary entry, so this needs no lookup of its own.
        words = words.with_flat_values(tf.where(lengths > _MAX_CHARACTERS_PER_WORD, "[UNK]", words.flat_values))
        return self._word_pieces.tokenize(words)

    def trackables(self) -> list:
        """Return the objects a SavedModel has to own for this tokenizer to work after reloading."""
        return [self._word_pieces._fast_word_piece]
