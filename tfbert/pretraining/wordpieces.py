"""WordPiece tokenization in worker processes, by the `tokenizers` library and without TensorFlow."""

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

# What both `text.tokenizer` and the library take for a blank, of what occurs. Other blanks are left to the library.
_BLANKS = " \t\n\r\u00a0\u3000"
_CJK = (
    "\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f\U0002b920-\U0002ceaf"
    "\uf900-\ufaff\U0002f800-\U0002fa1f"
)
_ASCII_PUNCTUATION = r"!-/:-@\[-`{-~"
# A text has few different words; a table that has grown past this is of garbage, and is begun anew.
_MAX_KNOWN = 1_000_000
# A longer word is one [UNK], as in the reference tokenizer.
MAX_CHARACTERS_PER_WORD = 100
# To find final sigmas: what the tokenizer drops becomes a character that Unicode's rule looks past.
_DROPPED = [*range(9), 11, 12, *range(14, 32), *range(127, 160), *range(0xE000, 0xF900), 0xFFFD]
_ONE_FOR_ONE = dict.fromkeys(_DROPPED, "\u00ad") | {ord("İ"): "I"}


@functools.cache
def _punctuation() -> str:
    """Return, for use in brackets, punctuation whose class every version of Unicode since 3.2 agrees upon."""
    old = unicodedata.ucd_3_2_0
    kept = (chr(code) for code in range(128, 0x10000))
    return _ASCII_PUNCTUATION + "".join(c for c in kept if unicodedata.category(c)[0] == old.category(c)[0] == "P")


@functools.cache
def _chunks(split_on_cjk: bool) -> re.Pattern:
    """Return what cuts a text at blanks and around punctuation and ideographs: words, but for some rare characters."""
    alone = _punctuation() + (_CJK if split_on_cjk else "")
    return re.compile(f"[{alone}]|[^{_BLANKS}{alone}]+")


def normaliser(*, lowercase: bool, strip_accents: bool, split_on_cjk: bool = True) -> BertNormalizer:
    """Return the library's normalizer with the rules of `text.tokenizer.Tokenizer`."""
    return BertNormalizer(
        clean_text=True, handle_chinese_chars=split_on_cjk, strip_accents=strip_accents, lowercase=lowercase
    )


def chunks_of(text: str, *, lowercase: bool, split_on_cjk: bool = True) -> list[str]:
    """Cut a text at blanks and around punctuation and ideographs.

    Each part tokenized by itself gives what the whole gives; a sigma that ends its word is put in first, as what
    follows decides it.

    Args:
        text: any.
        lowercase: whether the parts will be lower-cased.
        split_on_cjk: whether every CJK ideograph is a part.
    """
    return _chunks(split_on_cjk).findall(_with_final_sigmas(text) if lowercase else text)


class WordPieces:
    """Text to WordPiece ids with the ids of `text.tokenizer.Tokenizer`; it can be pickled.

    Words that were met before are looked up, so that of running text one in some fifty is tokenized in earnest.

    Args:
        vocabulary: WordPieces by id, `##` before those that continue a word.
        lowercase, strip_accents, split_on_cjk: as of `text.tokenizer.Tokenizer`.

    Raises:
        ValueError: the vocabulary is not BERT's.

    Source: the `tokenizers` library's BERT normalizer and WordPiece. Ours differs in that special tokens spelled out
    are plain characters, and in the final sigma. From `text.tokenizer.Tokenizer` it differs in punctuation, marks and
    case that are newer than the library's Unicode.
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
        self._tokenizer.normalizer = normaliser(**self.rules)
        self._tokenizer.pre_tokenizer = BertPreTokenizer()
        self._known = _Known(self._tokenizer)
        self.start, self.end, self.mask = (self.vocabulary.index(token) for token in ("[CLS]", "[SEP]", "[MASK]"))
        self.is_continuation = np.array([token.startswith("##") for token in vocabulary])
        self.dtype = np.dtype(np.uint16 if len(vocabulary) <= 2**16 else np.int32)

    @property
    def rules(self) -> dict[str, bool]:
        """How texts are normalised, by the names of the arguments."""
        names = ("lowercase", "strip_accents", "split_on_cjk")
        return {name: getattr(self, name) for name in names}

    @property
    def sha256(self) -> str:
        """Hex digest of the vocabulary."""
        return hashlib.sha256("\n".join(self.vocabulary).encode()).hexdigest()

    def __reduce__(self):
        return functools.partial(type(self), **self.rules), (self.vocabulary,)

    def __call__(self, text: str) -> list[int]:
        """Return the ids of a text, without special tokens."""
        chunks = chunks_of(text, lowercase=self.lowercase, split_on_cjk=self.split_on_cjk)
        return list(itertools.chain.from_iterable(map(self._known.__getitem__, chunks)))

    def with_words(self, text: str, words: Iterable[str], where: str) -> tuple[list[int], list[bool]]:
        """Return the ids of a text, and which of them go on with the word of the one before.

        Args:
            text: any.
            words: of the text, in order; blanks may be missing between them.
            where: whose words they are, for errors.

        Raises:
            ValueError: a word is not in the text behind those before it.
        """
        word_starts = _word_starts(text, words, where)
        text = _with_final_sigmas(text) if self.lowercase else text
        ids, continues, reached = [], [], 0
        for found in _chunks(self.split_on_cjk).finditer(text):
            pieces = self._known[found[0]]
            begins = reached
            while reached < len(word_starts) and word_starts[reached] <= found.start():
                reached += 1
            # A chunk goes on with the word before if no word begins between the start of that chunk and its own.
            continues += [bool(ids) and begins == reached and reached > 0][: len(pieces)]
            continues += self.is_continuation[list(pieces[1:])].tolist()
            ids += pieces
        return ids, continues


class _Known(dict):
    """Ids by chunk, filled by what is asked for."""

    def __init__(self, tokenizer: Tokenizer):
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, chunk: str) -> tuple[int, ...]:
        if len(self) >= _MAX_KNOWN:
            self.clear()
        ids = tuple(self._tokenizer.encode(chunk, add_special_tokens=False).ids)
        self[chunk] = ids
        return ids


def _word_starts(text: str, words: Iterable[str], where: str) -> list[int]:
    starts, position = [], 0
    for word in words:
        start = text.find(word, position)
        if start < 0:
            behind = text[position : position + 20]
            raise ValueError(f"{where} gives the word {word!r}, which is not in the text from {behind!r} on")
        starts.append(start)
        position = start + len(word)
    return starts


def _with_final_sigmas(text: str) -> str:
    """Put the small sigma that a capital one becomes, which the library does not tell by its place.

    Python's `lower` does. It is given one character for each: what is dropped counts as nothing, and the one capital
    that becomes two small characters as one.
    """
    if "Σ" not in text:
        return text
    lowered = text.translate(_ONE_FOR_ONE).lower()
    return "".join(small if character == "Σ" else character for character, small in zip(text, lowered, strict=True))
