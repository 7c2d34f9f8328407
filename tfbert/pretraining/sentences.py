"""Sentence splitting at line breaks and at the full stops of Latin, Chinese and other scripts."""

import re
from collections.abc import Iterator

# Longer sentences are cut: they are lists, tables, or of a script without full stops.
_MAX_CHARACTERS = 1000
_LINES = re.compile(r"[\r\n\v\f\u2028\u2029]+")
# A full stop with the closing quotes and brackets after it. In scripts that write a space after it, `_is_end` decides.
# The quantifiers are possessive, because backtracking over megabytes of dots or spaces would take quadratic time.
_STOPS = re.compile(r"""[。！？；…｡؟۔।॥]++["'”’」』）》〉】]*+|(?<![.!?])[.!?]++["'”’»)\]]*+(?=\s)""")
_FOLLOWING = re.compile(r"""\s+["'“‘«„(\[¿¡–—-]*\s?""")
_QUOTES = "\"'“‘«„(["
_MAX_ABBREVIATION_CHARACTERS = 10
_LIST_NUMBER = re.compile(r"\s*[(\[]?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})[.)]+\s*")
# Abbreviations with a full stop within sentences; those that often end one, such as etc., are not included.
_ABBREVIATIONS = """
    mr mrs ms messrs dr prof rev hon gov sen rep gen col lt sgt capt st mt ft jr sr vs cf e.g i.e viz al approx ca
    no nos fig figs eq sec vol vols p pp ed eds art para inc ltd corp co bros dept est jan feb mar apr jun jul aug
    sep sept oct nov dec mon tue wed thu fri sat sun u.s u.k u.n e.u ph.d m.d b.a m.a d.c
"""
_KNOWN_ABBREVIATIONS = frozenset(_ABBREVIATIONS.split())


def split_sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text without surrounding whitespace.

    A sentence ends at a line break and at 。！？；…, and at . ! ? if a space and then a capital, a digit or a letter of
    a script without case follow, in quotes or not, unless the stop belongs to an abbreviation, an initial or a list
    number. Every character except whitespace is in exactly one sentence.
    """
    for line in _LINES.split(text):
        start = 0
        for stop in _STOPS.finditer(line):
            if _is_end(line, start, stop):
                yield from _cut(line[start : stop.end()].strip())
                start = stop.end()
        yield from _cut(line[start:].strip())


def _is_end(line: str, start: int, stop: re.Match) -> bool:
    if stop[0][0] not in ".!?":
        return True
    following = _FOLLOWING.match(line, stop.end())
    after = line[following.end() : following.end() + 1]
    if not (after.isupper() or after.isdigit() or (after.isalpha() and not after.islower())):
        return not after
    if stop[0] != ".":
        return True
    words = line[max(start, stop.start() - _MAX_ABBREVIATION_CHARACTERS) : stop.start()].split()
    if not words or line[stop.start() - 1].isspace():
        return True
    word = words[-1].lstrip(_QUOTES)
    is_initial = len(word) == 1 and word.isupper() and word != "I"
    is_abbreviation = word.lower() in _KNOWN_ABBREVIATIONS
    return not (is_initial or is_abbreviation or _LIST_NUMBER.fullmatch(line, start, stop.end()))


def _cut(sentence: str) -> Iterator[str]:
    """Yield a sentence, cut if it is too long: at spaces, or anywhere if it has none."""
    start = 0
    while len(sentence) - start > _MAX_CHARACTERS:
        end = sentence.rfind(" ", start + _MAX_CHARACTERS // 2, start + _MAX_CHARACTERS)
        end = end if end > 0 else start + _MAX_CHARACTERS
        yield from filter(None, [sentence[start:end].strip()])
        start = end
    yield from filter(None, [sentence[start:].strip()])
