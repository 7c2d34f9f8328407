"""Spans of characters, tags of words, tags of tokens: one in, another out, in plain Python and NumPy."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

# Prefixes of tags, with other letters that files have for them: BILOU and BMES are IOBES.
_PREFIXES = {"B": "B", "I": "I", "E": "E", "S": "S", "M": "I", "L": "E", "U": "S"}
# What BERT makes a word of its own whatever stands beside it.
_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class Span(NamedTuple):
    """A labelled interval of a text.

    Args:
        start: first Unicode character.
        end: behind the last.
        label: what it is.
    """

    start: int
    end: int
    label: str

    def __repr__(self) -> str:
        """Return the span as messages show it."""
        return f"[{self.start}:{self.end}] {self.label}"


class TagError(ValueError):
    """A tag that is none, or that cannot stand where it does.

    Args:
        message: what is wrong.
        index: of the tag in its sentence.
    """

    def __init__(self, message: str, index: int):
        super().__init__(message)
        self.index = index


def read_tag(tag: str) -> tuple[str, str] | None:
    """Return prefix (`B`, `I`, `E`, `S` or `O`) and type of a tag, or `None` if it is no tag."""
    if tag == "O":
        return "O", ""
    prefix, hyphen, kind = tag.partition("-")
    return (_PREFIXES[prefix], kind) if hyphen and kind and prefix in _PREFIXES else None


def scheme_of(sentences: Iterable[Sequence[str]]) -> str:
    """Return the scheme that most entities of a file are tagged in: `iob1`, `iob2` or `iobes`.

    In IOBES every entity ends with E or S; in IOB2 every one begins with B; in IOB1 it begins with I unless one of the
    same type ends right before it.

    Args:
        sentences: the tags of each; what is no tag counts as O.
    """
    num_closed = num_open = num_inside_first = num_needless_begin = 0
    for tags in sentences:
        previous = ("O", "")
        for prefix, kind in [*(read_tag(tag) or ("O", "") for tag in tags), ("O", "")]:
            goes_on = prefix in "IE" and kind == previous[1]
            num_closed += prefix in "ES"
            num_open += previous[0] in "BI" and not goes_on
            num_inside_first += prefix == "I" and not goes_on
            num_needless_begin += prefix == "B" and kind != previous[1]
            previous = prefix, kind
    if num_closed and num_closed >= num_open:
        return "iobes"
    return "iob1" if num_inside_first > num_needless_begin else "iob2"


def spans_of_tags(tags: Sequence[str], scheme: str) -> list[Span]:
    """Return the entities that tags mark, as spans of words.

    Args:
        tags: of one sentence.
        scheme: `iob1` (in which B may also begin an entity that stands alone), `iob2` or `iobes`.

    Raises:
        TagError: what is no tag of the scheme, or cannot follow the one before it.

    Source: Ramshaw and Marcus 1995 (IOB1), Tjong Kim Sang and Veenstra 1999, "Representing Text Chunks" (IOB2).
    """
    spans: list[Span] = []
    previous, begin = ("O", ""), 0
    for index, tag in enumerate([*tags, "O"]):
        found = read_tag(tag)
        if found is None:
            raise TagError(f"tag {tag!r} is neither O nor B-, I-, E- or S- with a type", index)
        prefix, kind = found
        goes_on = prefix in "IE" and previous[0] in "BI" and kind == previous[1]
        if wish := _wish(scheme, prefix, kind, previous, goes_on):
            if index == len(tags):
                raise TagError(f"tag {tags[-1]!r} cannot end a sentence in {scheme}; wanted {wish}", index - 1)
            before = f"{tags[index - 1]!r}" if index else "the beginning of a sentence"
            raise TagError(f"tag {tag!r} cannot follow {before} in {scheme}; wanted {wish}", index)
        if previous[0] != "O" and not goes_on:
            spans.append(Span(begin, index, previous[1]))
        if not goes_on:
            begin = index
        previous = prefix, kind
    return spans


def _wish(scheme: str, prefix: str, kind: str, previous: tuple[str, str], goes_on: bool) -> str | None:
    """Return what a scheme wants instead of a tag, or `None` if the tag is right."""
    if scheme != "iobes":
        if prefix in "ES":
            return f"B-{kind} or I-{kind}, or --set data.tag_scheme=iobes"
        is_stray = scheme == "iob2" and prefix == "I" and not goes_on
        return f"B-{kind}, or --set data.tag_scheme=iob1" if is_stray else None
    if previous[0] in "BI" and not goes_on:
        return f"I-{previous[1]} or E-{previous[1]} after {previous[0]}-{previous[1]}"
    return f"B-{kind} or S-{kind} first" if prefix in "IE" and not goes_on else None


def outermost(spans: Iterable[Span]) -> list[Span]:
    """Return the spans in order without those that overlap a longer one; of equally long ones the first stays."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start - span.end, span.start)):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return sorted(kept)


def trimmed(span: Span, text: str) -> Span:
    """Return a span without blanks at its edges; one of blanks alone as it is."""
    inside = text[span.start : span.end]
    if not inside.strip():
        return span
    start = span.start + len(inside) - len(inside.lstrip())
    return Span(start, start + len(inside.strip()), span.label)


def cuts_word(text: str, position: int) -> bool:
    """Say whether a position lies between two characters that BERT keeps in one word."""
    return 0 < position < len(text) and _joins(text[position - 1]) and _joins(text[position])


def token_ranges(starts: np.ndarray, ends: np.ndarray, spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Return the tokens of each span: first, and behind the last.

    A token belongs to a span that has a part of it, and to the first of two. Where a span has no token, first and
    behind are the same.

    Args:
        starts: int `(tokens,)`, first character of each token, never decreasing.
        ends: likewise behind the last character.
        spans: in order, without overlap.
    """
    ranges, free = [], 0
    for span in spans:
        first = max(free, int(np.searchsorted(ends, span.start, "right")))
        free = max(first, int(np.searchsorted(starts, span.end, "left")))
        ranges.append((first, free))
    return ranges


def tags_of_types(types: Sequence[str]) -> list[str]:
    """Return the tags of tokens by tag id: O, then B and I of each type; so a B is odd, and its I one more."""
    return ["O", *(f"{prefix}-{kind}" for kind in types for prefix in "BI")]


def tag_tokens(ranges: Sequence[tuple[int, int]], type_ids: Sequence[int], num_tokens: int) -> np.ndarray:
    """Return the tag id of each token, int32 `(num_tokens,)`.

    Args:
        ranges: tokens of each span, as `token_ranges` gives them.
        type_ids: of each span.
        num_tokens: of the text.
    """
    tags = np.zeros(num_tokens, np.int32)
    for (first, behind), type_id in zip(ranges, type_ids, strict=True):
        tags[first:behind] = 2 * type_id + 2
        tags[first : min(first + 1, behind)] = 2 * type_id + 1
    return tags


def _joins(character: str) -> bool:
    category, code = unicodedata.category(character), ord(character)
    is_symbol = category[0] in "ZCP" or (code < 128 and not character.isalnum())
    return not is_symbol and not any(low <= code <= high for low, high in _CJK)
