"""Changes of characters: case, punctuation, whitespace, accents, look-alikes, zero-width and full-width characters."""

import random
import re
import unicodedata
from collections.abc import Callable, Iterator

from tfbert.text.edits import Edit
from tfbert.text.perturbations.words import Word, some, words_matching, words_of

# The probability that a word gets an unusual character.
_RATE = 0.1
# Punctuation at the end of a word or a clause; not that inside of numbers, abbreviations and addresses.
_PUNCTUATION = re.compile(r"""(?<=\S)[.,!?;:…]+(?=\s|$|["')\]”])|[，。！？；：、…]+""")
_WHITESPACE = re.compile(r"\s+")
_SPACES = ("  ", "   ", "\t", " \u00a0", " \n")
_ZERO_WIDTH = "\u200b"
# Cyrillic letters that look like Latin ones.
_CYRILLIC = dict(zip("aceopxyiABCEHIKMOPTX", "асеорхуіАВСЕНІКМОРТХ", strict=True))
# The radicals that look like Chinese characters.
_RADICALS = {unicodedata.normalize("NFKC", chr(code)): chr(code) for code in range(0x2F00, 0x2FD6)}
_LOOK_ALIKES = _CYRILLIC | _RADICALS
_ACCENTED = dict(zip("aeiouAEIOU", "áéíóúÁÉÍÓÚ", strict=True))
# Runs of ASCII characters that are not a part of a word with other Latin letters.
_ASCII_TOKEN = re.compile("(?<![\u00c0-\u024f!-~])[!-~]++(?![\u00c0-\u024f])")
# The distance of a full-width character from its ASCII character.
_FULL_WIDTH = 0xFF01 - 0x21


def upper_case(text: str, rng: random.Random) -> Iterator[Edit]:
    """Yield the edits to upper case."""
    return _by_character(text, str.upper)


def lower_case(text: str, rng: random.Random) -> Iterator[Edit]:
    """Yield the edits to lower case."""
    return _by_character(text, str.lower)


def without_accents(text: str, rng: random.Random) -> Iterator[Edit]:
    """Yield the edits that remove accents from Latin letters."""

    def plain(character: str) -> str:
        letter, *marks = unicodedata.normalize("NFD", character)
        return letter if letter.isascii() and all(map(unicodedata.combining, marks)) else character

    yield from _by_character(text, plain)


def accents(text: str, rng: random.Random) -> Iterator[Edit]:
    """Yield the edits that put an accent on a vowel of some words."""
    return _replaced(text, rng, _ACCENTED)


def look_alikes(text: str, rng: random.Random) -> Iterator[Edit]:
    """Yield the edits that replace a letter of some words by another one that looks the same."""
    return _replaced(text, rng, _LOOK_ALIKES)


def zero_width(text: str, rng: random.Random) -> Iterator[Edit]:
    """Yield the insertions of zero-width spaces into some words."""
    for word in some(words_of(text), rng, _RATE):
        position = rng.randrange(word.start + 1, word.end)
        yield Edit(position, position, _ZERO_WIDTH)


def full_width(text: str, rng: random.Random) -> Iterator[Edit]:
    """Yield the edits that write some words and numbers in full-width characters, as in East Asian text."""
    for token in some(words_matching(_ASCII_TOKEN, text), rng, _RATE):
        for position, character in enumerate(token.text, token.start):
            yield Edit(position, position + 1, chr(ord(character) + _FULL_WIDTH))


def whitespace(text: str, rng: random.Random) -> Iterator[Edit]:
    """Yield the edits that lengthen some gaps between words, and add whitespace at the end."""
    for match in _WHITESPACE.finditer(text):
        if rng.random() < _RATE and match.end() < len(text):
            yield Edit(*match.span(), rng.choice(_SPACES))
    yield Edit(len(text), len(text), rng.choice(_SPACES))


def no_punctuation(text: str, rng: random.Random) -> Iterator[Edit]:
    """Yield the deletions of punctuation between clauses and at their end."""
    return (Edit(*match.span(), "") for match in _PUNCTUATION.finditer(text))


def doubled_punctuation(text: str, rng: random.Random) -> Iterator[Edit]:
    """Yield the edits that double punctuation between clauses and at their end."""
    return (Edit(*match.span(), match.group() * 2) for match in _PUNCTUATION.finditer(text))


def _by_character(text: str, change: Callable[[str], str]) -> Iterator[Edit]:
    for position, character in enumerate(text):
        if (changed := change(character)) != character:
            yield Edit(position, position + 1, changed)


def _replaced(text: str, rng: random.Random, table: dict[str, str]) -> Iterator[Edit]:
    """Yield the replacement of one character in some of the words that have characters of a table."""

    def positions(word: Word) -> list[int]:
        return [position for position, letter in enumerate(word.text, word.start) if letter in table]

    for word in some([word for word in words_of(text) if positions(word)], rng, _RATE):
        position = rng.choice(positions(word))
        yield Edit(position, position + 1, table[text[position]])
