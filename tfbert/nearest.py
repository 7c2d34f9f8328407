"""Names that were probably meant: a mistyped value and the known names in, a hint for an error message out.

Names that look alike but are not equal, such as "can’t" and "can't", are told apart by their code points.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

# Least share of characters that two names have in common for one to be a misspelling of the other.
_CUTOFF = 0.7
_MAX_DIFFERENCES, _MAX_CODE_POINTS = 3, 3  # shown of two names, and of one side of a difference
_ASCII_BLANKS = re.compile(r"[ \t\r\n\f\v]+")
_QUOTES = {"'": "‘’‚‛′‵`´ʼʹ＇‹›", '"': "“”„‟″‶«»〝〞＂"}
_INVISIBLE = {
    *"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0",  # joiners and fillers outside of Cf
    *map(chr, range(0xFE00, 0xFE10)),  # variation selectors
    *map(chr, range(0xE0100, 0xE01F0)),
}
_PLAIN = {ord(character): plain for plain, characters in _QUOTES.items() for character in characters}
_PLAIN |= dict.fromkeys(map(ord, "\u2212\u2043"), "-")  # minus sign and hyphen bullet are not in category Pd
_PLAIN |= dict.fromkeys(map(ord, _INVISIBLE))


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """Return a hint that ends an error message about an unknown name, or an empty string if no name is close enough.

    Args:
        value: what was given; none of `known`.
        known: the names that exist.

    Returns:
        Such as `; did you mean 'refund'?`. Where the two names look alike, the hint says in what they differ.
    """
    key, names = look_alike_key(value), {}
    for name in known:
        names.setdefault(look_alike_key(name), name)
    if key in names:
        return f"; {_told_apart(value, names[key])}"
    close = difflib.get_close_matches(key, names, n=1, cutoff=_CUTOFF)
    return f"; did you mean {names[close[0]]!r}?" if close else ""


def did_you_mean_path(path: str, known: Iterable[str]) -> str:
    """Return what `did_you_mean` does for dotted paths: also for a path without its section, or a section alone."""
    paths = list(known)
    field = next((each for each in paths if each.startswith(f"{path}.")), None)
    if field is not None:
        return f"; {path!r} is a section, and {field!r} is a field of it"
    field = next((each for each in paths if each.rpartition(".")[2] == path), None)
    return f"; did you mean {field!r}?" if field is not None else did_you_mean(path, paths)


def look_alike_key(text: str) -> str:
    """Return what texts that look alike to a reader have in common.

    Normal form (NFKC), case, invisible characters, kinds of quotation marks, dashes and whitespace are evened out.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.replace("`", "'").casefold().split())
    text = unicodedata.normalize("NFKC", text.translate(_PLAIN)).translate(_PLAIN).casefold()
    kept = (_visible(character) for character in unicodedata.normalize("NFKC", text))
    return " ".join("".join(kept).split())


def code_point_difference(first: str, second: str) -> str:
    """Return the code points in which two texts differ, by number and name.

    Returns:
        Such as `U+2019 RIGHT SINGLE QUOTATION MARK against U+0027 APOSTROPHE`, the first three differences at most.
    """
    matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
    codes = [(first[a:b], second[c:d]) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"]
    return _some([_difference(*sides) for sides in codes], _MAX_DIFFERENCES, " and ")


def differs_visibly(first: str, second: str) -> bool:
    """Say whether two texts that look alike differ in nothing but case and blanks, which a reader can see."""
    plain = [_ASCII_BLANKS.sub(" ", text.lower()).strip() for text in (first, second)]
    return plain[0] == plain[1]


def _told_apart(value: str, name: str) -> str:
    if differs_visibly(value, name):
        return f"did you mean {name!r}? (case and blanks count)"
    return f"{value!r} differs from {name!r} in {code_point_difference(value, name)}"


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if character.isspace():
        return " "
    return "-" if category == "Pd" else "" if category in ("Cf", "Cc") else character


def _difference(first: str, second: str) -> str:
    if first and second:
        return f"{_code_points(first)} against {_code_points(second)}"
    return f"{_code_points(first or second)} (only in the {'first' if first else 'second'})"


def _code_points(text: str) -> str:
    names = [f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip() for character in text]
    return _some(names, _MAX_CODE_POINTS, ", ")


def _some(items: Sequence[str], most: int, between: str) -> str:
    return between.join([*items[:most], *(["..."] if len(items) > most else [])])
