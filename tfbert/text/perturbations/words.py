"""Words that perturbations may change: Latin words and pairs of Chinese characters, without negations and addresses."""

import random
import re
import unicodedata
from typing import NamedTuple

HAN = "\u4e00-\u9fff"
_LATIN = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
# Characters whose loss changes what a text says: negations and numerals.
_KEPT_HAN = "不没无非未别勿莫否零〇一二两三四五六七八九十百千万亿"
_KEPT_LATIN = frozenset(("not", "nor", "non", "never", "none", "nothing", "nobody", "without", "cannot"))
_WORD = re.compile(rf"(?<![\w'’])[{_LATIN}]{{3,}}(?![\w'’])|(?:(?![{_KEPT_HAN}])[{HAN}]){{2}}")
# Addresses, mentions, hashtags and entities of HTML.
_ADDRESS = re.compile(r"\S*(?:://|www\.|@)\S*|[#$](?=[A-Za-z_])\w+|&#?\w+;")
_HAN_CHARACTER, _LATIN_LETTER = re.compile(f"[{HAN}]"), re.compile(f"[{_LATIN}]")
_KANA_OR_HANGUL = re.compile("[\u3040-\u30ff\uac00-\ud7af]")


class Word(NamedTuple):
    """A word of a text, or two Chinese characters.

    Args:
        start: the position of the first Unicode character.
        end: the exclusive end.
        text: the word.
    """

    start: int
    end: int
    text: str

    @property
    def is_chinese(self) -> bool:
        """Whether it consists of Chinese characters."""
        return self.text[0] >= HAN[0]


def words_of(text: str) -> list[Word]:
    """Return the words of at least three letters and the pairs of Chinese characters, in order."""
    return [word for word in words_matching(_WORD, text) if word.text.lower() not in _KEPT_LATIN]


def words_matching(pattern: re.Pattern, text: str) -> list[Word]:
    """Return the matches of a pattern outside of addresses, mentions and hashtags."""
    addresses = [match.span() for match in _ADDRESS.finditer(text)]
    words = [Word(match.start(), match.end(), match.group()) for match in pattern.finditer(text)]
    return [word for word in words if not any(start < word.end and word.start < end for start, end in addresses)]


def some(words: list[Word], rng: random.Random, rate: float) -> list[Word]:
    """Return a random selection of words, at least one if there are any.

    Args:
        words: the words.
        rng: the source of random numbers.
        rate: the probability of each word.
    """
    selected = [word for word in words if rng.random() < rate]
    return selected or ([rng.choice(words)] if words else [])


def language_of(text: str) -> str:
    """Return `Chinese` or `English` for a text in that script, or an empty string for another script.

    A text in Latin letters counts as English.
    """
    if _KANA_OR_HANGUL.search(text):
        return ""
    num_han, num_latin = len(_HAN_CHARACTER.findall(text)), len(_LATIN_LETTER.findall(text))
    # A Chinese word has about two characters, an English one five letters.
    if num_han and num_han / 2 >= num_latin / 5:
        return "Chinese"
    num_letters = sum(unicodedata.category(character).startswith("L") for character in text)
    return "English" if num_latin > num_letters / 2 else ""
