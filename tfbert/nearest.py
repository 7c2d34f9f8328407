"""Did-you-mean hints for misspelt names in error messages.

For names that look alike but are not equal, such as "can’t" and "can't", the hint lists the differing code points.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

# Smallest fraction of common characters at which one name counts as a misspelling of the other.
_MIN_SIMILARITY = 0.7
_MAX_DIFFERENCES, _MAX_CODE_POINTS = 3, 3  # shown per pair of names, and per side of a difference
_ASCII_WHITESPACE = re.compile(r"[ \t\r\n\f\v]+")
_QUOTES = {"'": "‘’‚‛′‵`´ʼʹ＇‹›", '"': "“”„‟″‶«»〝〞＂"}
_INVISIBLE = {
    *"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0",  # joiners and fillers that are not Cf
    *map(chr, range(0xFE00, 0xFE10)),  # variation selectors
    *map(chr, range(0xE0100, 0xE01F0)),
}
_REPLACEMENTS = {ord(character): plain for plain, characters in _QUOTES.items() for character in characters}
_REPLACEMENTS |= dict.fromkeys(map(ord, "\u2212\u2043"), "-")  # minus sign and hyphen bullet are not in category Pd
_REPLACEMENTS |= dict.fromkeys(map(ord, _INVISIBLE))


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """Return a hint to append to an error message about an unknown name; empty if no known name is close enough.

    Args:
        value: the unknown name.
        known: the names that exist.

    Returns:
        A hint such as `; did you mean 'refund'?`. If the two names look alike, it says how they differ.
    """
    key, names = look_alike_key(value), {}
    for name in known:
        names.setdefault(look_alike_key(name), name)
    if key in names:
        return f"; {_look_alike_hint(value, names[key])}"
    close_keys = difflib.get_close_matches(key, names, n=1, cutoff=_MIN_SIMILARITY)
    return f"; did you mean {names[close_keys[0]]!r}?" if close_keys else ""


def did_you_mean_path(path: str, known: Iterable[str]) -> str:
    """Return a hint like `did_you_mean` for a dotted path, also for a field without its section or a section alone."""
    paths = list(known)
    field = next((candidate for candidate in paths if candidate.startswith(f"{path}.")), None)
    if field is not None:
        return f"; {path!r} is a section, and {field!r} is a field of it"
    field = next((candidate for candidate in paths if candidate.rpartition(".")[2] == path), None)
    return f"; did you mean {field!r}?" if field is not None else did_you_mean(path, paths)


def look_alike_key(text: str) -> str:
    """Return a key that is equal for texts that look alike to a reader.

    The key ignores normal form (NFKC), case, invisible characters, and the kind of quotation marks, dashes and
    whitespace.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.replace("`", "'").casefold().split())
    text = unicodedata.normalize("NFKC", text.translate(_REPLACEMENTS)).translate(_REPLACEMENTS).casefold()
    characters = (_simplified(character) for character in unicodedata.normalize("NFKC", text))
    return " ".join("".join(characters).split())


def code_point_difference(first: str, second: str) -> str:
    """Return the first three differences between two texts as code points with their names.

    Returns:
        A description such as `U+2019 RIGHT SINGLE QUOTATION MARK against U+0027 APOSTROPHE`.
    """
    matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
    pairs = [(first[a:b], second[c:d]) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"]
    return _join_first([_difference(*pair) for pair in pairs], _MAX_DIFFERENCES, " and ")


def differs_visibly(first: str, second: str) -> bool:
    """Return whether two texts that look alike differ only in case and whitespace, which a reader can see."""
    first, second = (_ASCII_WHITESPACE.sub(" ", text.lower()).strip() for text in (first, second))
    return first == second


def _look_alike_hint(value: str, name: str) -> str:
    if differs_visibly(value, name):
        return f"did you mean {name!r}? (case and spaces matter)"
    return f"{value!r} differs from {name!r} in {code_point_difference(value, name)}"


def _simplified(character: str) -> str:
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
    return _join_first(names, _MAX_CODE_POINTS, ", ")


def _join_first(items: Sequence[str], max_items: int, separator: str) -> str:
    return separator.join([*items[:max_items], *(["..."] if len(items) > max_items else [])])
