"""Sentence splitting at line breaks and at the full stops of Latin script and of Chinese."""

import re
from collections.abc import Iterator

# Longer ones are cut: what has no full stop for so long is a list, a table, or a script that uses none.
_LONGEST = 1000
_LINES = re.compile(r"[\r\n\v\f\u2028\u2029]+")
# A stop, with quotes and brackets closed behind it. Of scripts that need a blank behind it, what follows decides. No
# pattern tries a run of stops or blanks more than once: a line may be megabytes of dots.
_STOPS = re.compile(r"""[。！？；…｡؟۔।॥]++["'”’」』）》〉】]*+|(?<![.!?])[.!?]++["'”’»)\]]*+(?=\s)""")
_FOLLOWING = re.compile(r"""\s+["'“‘«„(\[¿¡–—-]*\s?""")
_QUOTES = "\"'“‘«„(["
_LONGEST_ABBREVIATION = 10
_NUMBER_ALONE = re.compile(r"\s*[(\[]?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})[.)]+\s*")
# Written with a full stop in the middle of sentences. Those that often end one, such as etc., are not among them.
_ABBREVIATIONS = """
    mr mrs ms messrs dr prof rev hon gov sen rep gen col lt sgt capt st mt ft jr sr vs cf e.g i.e viz al approx ca
    no nos fig figs eq sec vol vols p pp ed eds art para inc ltd corp co bros dept est jan feb mar apr jun jul aug
    sep sept oct nov dec mon tue wed thu fri sat sun u.s u.k u.n e.u ph.d m.d b.a m.a d.c
"""
_KNOWN_ABBREVIATIONS = frozenset(_ABBREVIATIONS.split())


def sentences_of(text: str) -> Iterator[str]:
    """Yield the sentences of a text, without blanks at their edges.

    Line breaks always end one. So do 。！？；… wherever they are, and . ! ? where a blank and then a capital, a digit
    or a letter of a script without case follow, in quotes or not, unless the stop is that of an abbreviation, an
    initial or a list number. Every character that is not blank is in exactly one sentence.

    Args:
        text: any.
    """
    for line in _LINES.split(text):
        start = 0
        for found in _STOPS.finditer(line):
            if _is_end(line, start, found):
                yield from _cut(line[start : found.end()].strip())
                start = found.end()
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
    words = line[max(start, stop.start() - _LONGEST_ABBREVIATION) : stop.start()].split()
    if not words or line[stop.start() - 1].isspace():
        return True
    word = words[-1].lstrip(_QUOTES)
    is_initial = len(word) == 1 and word.isupper() and word != "I"
    is_abbreviation = word.lower() in _KNOWN_ABBREVIATIONS
    return not (is_initial or is_abbreviation or _NUMBER_ALONE.fullmatch(line, start, stop.end()))


def _cut(sentence: str) -> Iterator[str]:
    """Yield a sentence, in parts at blanks if it is too long, or anywhere if there are none."""
    start = 0
    while len(sentence) - start > _LONGEST:
        end = sentence.rfind(" ", start + _LONGEST // 2, start + _LONGEST)
        end = end if end > 0 else start + _LONGEST
        yield from filter(None, [sentence[start:end].strip()])
        start = end
    yield from filter(None, [sentence[start:].strip()])
