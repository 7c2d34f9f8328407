"""Changes of wording: contractions, greetings, irrelevant sentences, numbers, names and places."""

import random
import re
from collections.abc import Iterator, Sequence

from tfbert.text.edits import Edit
from tfbert.text.perturbations.words import language_of, words_matching

_NEGATED = ("is", "are", "was", "were", "do", "does", "did", "have", "has", "had")
_NEGATED += ("could", "would", "should", "must", "need")
_PRONOUNS = {
    "am": "i",
    "are": "you we they",
    "will": "i you he she it we they",
    "is": "he she it that there what where who here how",
}
_SHORT = {"am": "'m", "are": "'re", "will": "'ll", "is": "'s", "have": "'ve"}
_CONTRACTIONS = (
    {f"{verb} not": f"{verb}n't" for verb in _NEGATED}
    | {"cannot": "can't", "can not": "can't", "will not": "won't"}
    | {f"{pronoun} {verb}": pronoun + _SHORT[verb] for verb, names in _PRONOUNS.items() for pronoun in names.split()}
)
# `I have a card` is not usually contracted, so these are only expanded.
_EXPANSIONS = {short: long for long, short in _CONTRACTIONS.items() if long != "can not"} | {
    f"{pronoun}'ve": f"{pronoun} have" for pronoun in ["i", "you", "we", "they"]
}
# Before these words, and before a participle such as `arrived`, 's may mean `has`.
_PERFECT = (
    r"(?!\s+(?:been|got|had|gone|become|done|made|said|seen|taken|told|lost|left|never|already|just|always|\w+ed)\b)"
)
# A contraction cannot end a clause: `Yes, I am.`
_ANY_FULL = "|".join(sorted(_CONTRACTIONS, key=len, reverse=True)).replace(" ", r"\s+")
_FULL_FORM = re.compile(rf"\b(?:{_ANY_FULL})(?=\s+\w)", re.IGNORECASE)
_ANY_SHORT = "|".join(_EXPANSIONS).replace("'", "['’]")
_SHORT_FORM = re.compile(rf"\b(?:{_ANY_SHORT})\b{_PERFECT}", re.IGNORECASE)
_GREETINGS = {
    "English": ("Hello, ", "Hi there, ", "Good morning, "),
    "Chinese": ("您好，", "你好，", "早上好，"),
}
_SENTENCES = {
    "English": ("Today is Tuesday.", "Sent from my phone.", "I am writing this at my desk."),
    "Chinese": ("今天是星期二。", "发自我的手机。", "我正在办公桌前写这段话。"),
}
_ENDS = (".", "!", "?", "。", "！", "？", "…")
# Whole numbers with and without separators of thousands; not parts of dates, codes, decimal fractions or addresses.
_NUMBER = re.compile(r"(?<![\w.,:/#-])(?:\d{1,3}(?:,\d{3})+|\d{4,7})(?![\w:/-]|[.,]\d)", re.ASCII)
_YEARS = range(1800, 2100)


def contracted(text: str, rng: random.Random) -> Iterator[Edit]:
    """Yield the edits that contract, such as `do not` to `don't`."""
    for match in _FULL_FORM.finditer(text):
        yield Edit(*match.span(), _in_case_of(match.group(), _CONTRACTIONS[" ".join(match.group().lower().split())]))


def expanded(text: str, rng: random.Random) -> Iterator[Edit]:
    """Yield the edits that expand contractions, such as `don't` to `do not`."""
    for match in _SHORT_FORM.finditer(text):
        yield Edit(*match.span(), _in_case_of(match.group(), _EXPANSIONS[match.group().lower().replace("’", "'")]))


def greeting(text: str, rng: random.Random) -> Iterator[Edit]:
    """Yield the insertion of a greeting in the language of the text."""
    if language := language_of(text):
        yield Edit(0, 0, rng.choice(_GREETINGS[language]))


def irrelevant_sentence(text: str, rng: random.Random) -> Iterator[Edit]:
    """Yield the insertion of a sentence about something else at the end, in the language of the text."""
    if not (language := language_of(text)):
        return
    end = len(text.rstrip())
    start = len(text[:end].rstrip(",;:，；：、"))
    is_complete = text[:end].endswith(_ENDS)
    sentence = rng.choice(_SENTENCES[language])
    if language == "Chinese":
        yield Edit(start, end, sentence if is_complete else f"。{sentence}")
    else:
        yield Edit(start, end, f" {sentence}" if is_complete else f". {sentence}")


def numbers(text: str, rng: random.Random) -> Iterator[Edit]:
    """Yield the edits that add separators of thousands to numbers, or remove them."""
    for number in words_matching(_NUMBER, text):
        digits = number.text.replace(",", "")
        is_code = digits.startswith("0") or (number.text == digits and int(digits) in _YEARS)
        if not is_code:
            yield Edit(number.start, number.end, digits if number.text != digits else f"{int(digits):,}")


class Exchange:
    """Replaces each name of some lists by another one of its list.

    Args:
        english: lists of names in Latin letters.
        chinese: lists of Chinese names.
    """

    def __init__(self, english: Sequence[Sequence[str]], chinese: Sequence[Sequence[str]]):
        self._lists = [*english, *chinese]
        self._position = {
            name.lower(): (index, place) for index, names in enumerate(self._lists) for place, name in enumerate(names)
        }
        latin = "|".join(re.escape(name) for names in english for name in names)
        han = "|".join(sorted((name for names in chinese for name in names), key=len, reverse=True))
        self._pattern = re.compile(rf"(?<![\w-])(?:{latin})(?![\w-])|(?:{han})", re.IGNORECASE)

    def __call__(self, text: str, rng: random.Random) -> Iterator[Edit]:
        """Yield the edits. With the same random numbers, a name is always replaced by the same one."""
        steps = [rng.randrange(1, len(names)) for names in self._lists]
        for match in self._pattern.finditer(text):
            name = match.group()
            index, place = self._position[name.lower()]
            names = self._lists[index]
            other = names[(place + steps[index]) % len(names)]
            yield Edit(*match.span(), other.lower() if name.islower() else _in_case_of(name, other))


def _in_case_of(source: str, replacement: str) -> str:
    """Return a replacement with the case of its source: capitals, or a capital at the start."""
    letters = [character for character in source if character.isalpha()]
    if len(letters) > 1 and all(map(str.isupper, letters)):
        return replacement.upper()
    return replacement[0].upper() + replacement[1:] if source[0].isupper() else replacement
