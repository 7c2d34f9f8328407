"""Labelled character spans, BIO tags of words and tokens, and conversions between them."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

# Tag prefixes, including those of BILOU and BMES, which are IOBES with other letters.
_PREFIXES = {"B": "B", "I": "I", "E": "E", "S": "S", "M": "I", "L": "E", "U": "S"}
# Ideographs, which BERT always treats as separate words.
CJK = (
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
        start: the position of the first Unicode character.
        end: the exclusive end.
        label: the entity type.
    """

    start: int
    end: int
    label: str

    def __repr__(self) -> str:
        """Return the span as shown in messages."""
        return f"[{self.start}:{self.end}] {self.label}"


class TagError(ValueError):
    """Error for a tag that is invalid, or not allowed at its position.

    Args:
        message: what is wrong.
        index: the position of the tag in its sentence.
    """

    def __init__(self, message: str, index: int):
        super().__init__(message)
        self.index = index


def read_tag(tag: str) -> tuple[str, str] | None:
    """Return the prefix (`B`, `I`, `E`, `S` or `O`) and type of a tag, or `None` if it is not a tag."""
    if tag == "O":
        return "O", ""
    prefix, hyphen, kind = tag.partition("-")
    return (_PREFIXES[prefix], kind) if hyphen and kind and prefix in _PREFIXES else None


def scheme_of(sentences: Iterable[Sequence[str]]) -> str:
    """Return the tagging scheme that most entities of a file follow: `iob1`, `iob2` or `iobes`.

    In IOBES, every entity ends with E or S. In IOB2, every entity begins with B. In IOB1, an entity begins with I,
    unless another one of the same type ends directly before it.

    Args:
        sentences: the tags of each sentence; invalid tags count as O.
    """
    num_closed = num_open = num_inside_first = num_needless_begin = 0
    for tags in sentences:
        previous = ("O", "")
        for prefix, kind in [*(read_tag(tag) or ("O", "") for tag in tags), ("O", "")]:
            continues = prefix in "IE" and kind == previous[1]
            num_closed += prefix in "ES"
            num_open += previous[0] in "BI" and not continues
            num_inside_first += prefix == "I" and not continues
            num_needless_begin += prefix == "B" and kind != previous[1]
            previous = prefix, kind
    if num_closed and num_closed >= num_open:
        return "iobes"
    return "iob1" if num_inside_first > num_needless_begin else "iob2"


def spans_of_tags(tags: Sequence[str], scheme: str) -> list[Span]:
    """Return the entities that tags mark, as word spans.

    Args:
        tags: the tags of one sentence.
        scheme: `iob1` (B is also accepted where I would suffice), `iob2` or `iobes`.

    Raises:
        TagError: a tag does not belong to the scheme, or cannot follow the previous tag.

    Source: Ramshaw and Marcus 1995 (IOB1), Tjong Kim Sang and Veenstra 1999, "Representing Text Chunks" (IOB2).
    """
    spans: list[Span] = []
    previous, begin = ("O", ""), 0
    for index, tag in enumerate([*tags, "O"]):
        parsed = read_tag(tag)
        if parsed is None:
            raise TagError(f"tag {tag!r} is neither O nor B-, I-, E- or S- with a type", index)
        prefix, kind = parsed
        continues = prefix in "IE" and previous[0] in "BI" and kind == previous[1]
        if expected := _expected(scheme, prefix, kind, previous, continues):
            if index == len(tags):
                raise TagError(f"tag {tags[-1]!r} cannot end a sentence in {scheme}; expected {expected}", index - 1)
            before = f"{tags[index - 1]!r}" if index else "the beginning of a sentence"
            raise TagError(f"tag {tag!r} cannot follow {before} in {scheme}; expected {expected}", index)
        if previous[0] != "O" and not continues:
            spans.append(Span(begin, index, previous[1]))
        if not continues:
            begin = index
        previous = prefix, kind
    return spans


def _expected(scheme: str, prefix: str, kind: str, previous: tuple[str, str], continues: bool) -> str | None:
    """Return what the scheme expects instead of a tag, or `None` if the tag is valid."""
    if scheme != "iobes":
        if prefix in "ES":
            return f"B-{kind} or I-{kind}, or --set data.tag_scheme=iobes"
        is_stray = scheme == "iob2" and prefix == "I" and not continues
        return f"B-{kind}, or --set data.tag_scheme=iob1" if is_stray else None
    if previous[0] in "BI" and not continues:
        return f"I-{previous[1]} or E-{previous[1]} after {previous[0]}-{previous[1]}"
    return f"B-{kind} or S-{kind} first" if prefix in "IE" and not continues else None


def outermost(spans: Iterable[Span]) -> list[Span]:
    """Return the sorted spans without those that overlap a longer span or an equally long earlier one."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start - span.end, span.start)):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return sorted(kept)


def trimmed(span: Span, text: str) -> Span:
    """Return a span without leading and trailing whitespace, or the same span if it contains only whitespace."""
    inside = text[span.start : span.end]
    if not inside.strip():
        return span
    start = span.start + len(inside) - len(inside.lstrip())
    return Span(start, start + len(inside.strip()), span.label)


def cuts_word(text: str, position: int) -> bool:
    """Return whether a position is between two characters of the same BERT word."""
    return 0 < position < len(text) and _joins(text[position - 1]) and _joins(text[position])


def token_ranges(starts: np.ndarray, ends: np.ndarray, spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Return the token range of each span, with exclusive ends.

    A token belongs to the first span that it overlaps. The range of a span without tokens is empty.

    Args:
        starts: int `(tokens,)`, the first character of each token, non-decreasing.
        ends: int `(tokens,)`, the exclusive end of each token, non-decreasing.
        spans: sorted spans without overlap.
    """
    ranges, previous_end = [], 0
    for span in spans:
        first = max(previous_end, int(np.searchsorted(ends, span.start, "right")))
        end = max(first, int(np.searchsorted(starts, span.end, "left")))
        ranges.append((first, end))
        previous_end = end
    return ranges


def tags_of_types(types: Sequence[str]) -> list[str]:
    """Return the token tags in the order of their ids: O, then B and I of each type, so that B tags have odd ids."""
    return ["O", *(f"{prefix}-{kind}" for kind in types for prefix in "BI")]


def types_of_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Return the types of tags in any order, by first occurrence; the reverse of `tags_of_types`.

    Raises:
        ValueError: O is missing, a tag is not one of IOB2, or a type has no B tag.
    """
    types = {}
    for tag in tags:
        prefix, kind = read_tag(tag) or ("", "")
        if tag != "O" and not (tag[:1] in "BI" and prefix in "BI" and kind):
            raise ValueError(f"tag {tag!r}: expected O, B-TYPE or I-TYPE")
        types.setdefault(kind, set()).add(prefix)
    if types.pop("", None) is None:
        raise ValueError(f"tags are {', '.join(tags)}; expected O among them")
    for kind, prefixes in types.items():
        if "B" not in prefixes:
            raise ValueError(f"tag 'I-{kind}' without 'B-{kind}'; expected IOB2, in which every entity begins with B")
    return tuple(types)


def tag_tokens(ranges: Sequence[tuple[int, int]], type_ids: Sequence[int], num_tokens: int) -> np.ndarray:
    """Return the tag id of each token, int32 `(num_tokens,)`.

    Args:
        ranges: the tokens of each span, as `token_ranges` returns them.
        type_ids: the type of each span.
        num_tokens: the number of tokens of the text.
    """
    tags = np.zeros(num_tokens, np.int32)
    for (first, end), type_id in zip(ranges, type_ids, strict=True):
        tags[first:end] = 2 * type_id + 2
        tags[first : min(first + 1, end)] = 2 * type_id + 1
    return tags


def _joins(character: str) -> bool:
    category, code = unicodedata.category(character), ord(character)
    is_symbol = category[0] in "ZCP" or (code < 128 and not character.isalnum())
    return not is_symbol and not any(low <= code <= high for low, high in CJK)
