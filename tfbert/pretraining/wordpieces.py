"""WordPiece tokenizer for worker processes, which uses the `tokenizers` library and not TensorFlow."""

import functools
import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from tfbert.encoder.presets import check_vocabulary
from tfbert.text.tokenizer_rules import TokenizerRules

# Common characters that both `text.tokenizer` and the library treat as whitespace. Rarer ones are left to the library.
_WHITESPACE = " \t\n\r\u00a0\u3000"
_CJK = (
    "\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f\U0002b920-\U0002ceaf"
    "\uf900-\ufaff\U0002f800-\U0002fa1f"
)
_ASCII_PUNCTUATION = r"!-/:-@\[-`{-~"
# Texts have few distinct words; a larger cache is full of garbage and is cleared.
_MAX_CACHED = 1_000_000
# Longer words become [UNK], as in the reference tokenizer.
MAX_CHARACTERS_PER_WORD = 100
# For final sigmas: characters that the tokenizer drops become one that Unicode's rule ignores.
_DROPPED = [*range(9), 11, 12, *range(14, 32), *range(127, 160), *range(0xE000, 0xF900), 0xFFFD]
_ONE_FOR_ONE = dict.fromkeys(_DROPPED, "\u00ad") | {ord("İ"): "I"}


@functools.cache
def _punctuation() -> str:
    """Return the content of a regular-expression set of punctuation that is the same in every Unicode since 3.2."""
    old = unicodedata.ucd_3_2_0
    characters = (chr(code) for code in range(128, 0x10000))
    return _ASCII_PUNCTUATION + "".join(
        c for c in characters if unicodedata.category(c)[0] == old.category(c)[0] == "P"
    )


@functools.cache
def _chunk_pattern(split_on_cjk: bool) -> re.Pattern:
    """Return a pattern that matches words, except for some rare characters, and single punctuation and ideographs."""
    single = _punctuation() + (_CJK if split_on_cjk else "")
    return re.compile(f"[{single}]|[^{_WHITESPACE}{single}]+")


def make_normalizer(*, lowercase: bool, strip_accents: bool, split_on_cjk: bool = True) -> BertNormalizer:
    """Return the library's normalizer with the rules of `text.tokenizer.Tokenizer`."""
    return BertNormalizer(
        clean_text=True, handle_chinese_chars=split_on_cjk, strip_accents=strip_accents, lowercase=lowercase
    )


def split_chunks(text: str, *, lowercase: bool, split_on_cjk: bool = True) -> list[str]:
    """Split a text at whitespace and around punctuation and ideographs.

    The chunks tokenized separately give the same tokens as the whole text. Final sigmas are replaced before, because
    they depend on the following characters.

    Args:
        text: the text to split.
        lowercase: whether the tokenizer lower-cases the chunks.
        split_on_cjk: whether every CJK ideograph is a chunk.
    """
    return _chunk_pattern(split_on_cjk).findall(_with_final_sigmas(text) if lowercase else text)


class WordPieces:
    """Tokenizes texts to the ids of `text.tokenizer.Tokenizer`; can be pickled.

    The ids of known words are cached: about one in fifty words of running text has to be tokenized.

    Args:
        vocabulary: token of each id, with `##` before those that continue a word.
        lowercase, strip_accents, split_on_cjk: as for `text.tokenizer.Tokenizer`.

    Raises:
        ValueError: it is not a WordPiece vocabulary.

    Source: the `tokenizers` library's BERT normalizer and WordPiece. Ours differs in that special tokens in a text are
    plain characters, and in the final sigma. It differs from `text.tokenizer.Tokenizer` in punctuation, marks and case
    that are newer than the library's version of Unicode.
    """

    def __init__(self, vocabulary: Sequence[str], *, lowercase: bool, strip_accents: bool, split_on_cjk: bool = True):
        check_vocabulary(list(vocabulary), "vocabulary")
        self.vocabulary = list(vocabulary)
        self.lowercase, self.strip_accents, self.split_on_cjk = lowercase, strip_accents, split_on_cjk
        model = WordPiece(
            {token: index for index, token in enumerate(vocabulary)},
            unk_token="[UNK]",
            max_input_chars_per_word=MAX_CHARACTERS_PER_WORD,
        )
        self._tokenizer = Tokenizer(model)
        self._tokenizer.normalizer = make_normalizer(**self.rules._asdict())
        self._tokenizer.pre_tokenizer = BertPreTokenizer()
        self.cache = _ChunkCache(self._tokenizer)
        self.start, self.end = (self.vocabulary.index(token) for token in ("[CLS]", "[SEP]"))
        self.is_continuation = np.array([token.startswith("##") for token in vocabulary])
        self.dtype = np.dtype(np.uint16 if len(vocabulary) <= 2**16 else np.int32)

    @property
    def rules(self) -> TokenizerRules:
        """The rules of normalization."""
        return TokenizerRules(self.lowercase, self.strip_accents, self.split_on_cjk)

    @property
    def sha256(self) -> str:
        """Hex digest of the vocabulary."""
        return hashlib.sha256("\n".join(self.vocabulary).encode()).hexdigest()

    def __reduce__(self):
        return functools.partial(type(self), **self.rules._asdict()), (self.vocabulary,)

    def __call__(self, text: str) -> list[int]:
        """Return the ids of a text, without special tokens."""
        chunks = split_chunks(text, lowercase=self.lowercase, split_on_cjk=self.split_on_cjk)
        return list(itertools.chain.from_iterable(map(self.cache.__getitem__, chunks)))

    def encode_words(self, text: str, words: Iterable[str], source: str) -> tuple[list[int], list[bool]]:
        """Return the ids of a text, and whether each of them continues the word of the previous one.

        Args:
            text: the text to tokenize.
            words: the words of the text in order; whitespace between them may be missing.
            source: where the words come from, for error messages.

        Raises:
            ValueError: a word is not in the text after the previous word.
        """
        word_starts = _word_starts(text, words, source)
        text = _with_final_sigmas(text) if self.lowercase else text
        ids, continues, num_started = [], [], 0
        for chunk in _chunk_pattern(self.split_on_cjk).finditer(text):
            pieces = self.cache[chunk[0]]
            num_before = num_started
            while num_started < len(word_starts) and word_starts[num_started] <= chunk.start():
                num_started += 1
            # A chunk continues the previous word if no word starts between the previous chunk's start and its own.
            continues += [bool(ids) and num_before == num_started and num_started > 0][: len(pieces)]
            continues += self.is_continuation[list(pieces[1:])].tolist()
            ids += pieces
        return ids, continues


class _ChunkCache(dict):
    """Ids of each chunk, computed on first access."""

    def __init__(self, tokenizer: Tokenizer):
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, chunk: str) -> tuple[int, ...]:
        if len(self) >= _MAX_CACHED:
            self.clear()
        ids = tuple(self._tokenizer.encode(chunk, add_special_tokens=False).ids)
        self[chunk] = ids
        return ids


def _word_starts(text: str, words: Iterable[str], source: str) -> list[int]:
    starts, position = [], 0
    for word in words:
        start = text.find(word, position)
        if start < 0:
            rest = text[position : position + 20]
            raise ValueError(f"{source} returned the word {word!r}, which is not in the rest of the text, {rest!r}")
        starts.append(start)
        position = start + len(word)
    return starts


def _with_final_sigmas(text: str) -> str:
    """Replace capital sigmas by the small sigma of their position in the word, which the library does not do.

    Python's `lower` does. Before, dropped characters are replaced by one that it ignores, and the only capital that
    becomes two characters by another one, so that the lengths are equal.
    """
    if "Σ" not in text:
        return text
    lowered = text.translate(_ONE_FOR_ONE).lower()
    return "".join(lower if character == "Σ" else character for character, lower in zip(text, lowered, strict=True))
