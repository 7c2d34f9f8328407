"""Lists of identity terms, such as words for women and men: finding them in texts, and replacing them by counterparts.

A list is a text file. Comments start with `#`; the first one describes the list. The line `groups: female | male`
names the groups, and every other line has one term per group, the counterparts of each other: `mother | father`. `-`
stands for a missing counterpart, and `keep: isle of man | 吉他` for expressions that contain a term in another meaning.
The form of a term before a noun is marked: `her [noun] | his [noun]` next to `her | him`.
"""

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfbert.nearest import did_you_mean
from tfbert.text.readers.columns import listed_names, shown

_LISTS_DIR = Path(__file__).with_name("term_lists")
BUILT_IN = ("gender", "names", "countries", "religions")
_NO_COUNTERPART, _NOUN = "-", "[noun]"
_EXPECTED_GROUPS = "expected groups: NAME | NAME, with two or more names"
# Scripts without spaces between words, where a term is found inside longer sequences of letters.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff"
_NEXT_WORD = re.compile(r"[ \t]+([^\W\d_]+)")
# Words that do not begin a noun phrase after a possessive: "gave her the book", as opposed to "read her book".
_FUNCTION_WORDS = (
    "a about after again all although an and as at away back because before but by during for from he her here his "
    "how i if in into is it its just like may might my not now of off on or our out over she should so than that the "
    "their them there these they this those though through to today together too tomorrow up very was we were what "
    "when where which while who why will with without would yesterday you your"
)
_NOT_IN_NOUN_PHRASE = frozenset(_FUNCTION_WORDS.split())
_ARTICLE = re.compile(r"(?<![^\W_])([Aa])[Nn]?(\s+)$")
_LIKE_A_CONSONANT = ("eu", "uni", "use", "usu", "uk", "one")


@dataclass(frozen=True)
class Mention:
    """A term in a text.

    Args:
        start: the index of its first Unicode character.
        end: the end, exclusive.
        group: the index of its group.
        row: the index of its row, which has the counterparts.
    """

    start: int
    end: int
    group: int
    row: int


@dataclass(frozen=True)
class TermList:
    """Terms of two or more groups, with their counterparts in the other groups.

    Args:
        name: the name of a built-in list, or the path of a file.
        description: the first comment of the file.
        groups: the names of the groups.
        rows: the terms of each row by group; `None` for a missing counterpart.
        forms: which terms of each row are the form before a noun.
        kept: expressions that are left alone.
        sha256: the hex digest of the file.
    """

    name: str
    description: str
    groups: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    forms: tuple[tuple[bool, ...], ...]
    kept: tuple[str, ...]
    sha256: str

    def mentions(self, text: str) -> list[Mention]:
        """Return the terms of a text, in text order."""
        found = []
        for match in self._pattern.finditer(text):
            candidates = self._by_term.get(_key(match[0]))
            if candidates:
                is_before_noun = len(candidates) > 1 and _is_before_noun(text, match.end())
                group, row = candidates.get(is_before_noun) or next(iter(candidates.values()))
                found.append(Mention(match.start(), match.end(), group, row))
        return found

    def groups_in(self, texts: Sequence[str]) -> set[int]:
        """Return the indices of the groups whose terms occur in the texts of a record."""
        return {mention.group for text in texts for mention in self.mentions(text)}

    def group_of(self, texts: Sequence[str]) -> str | None:
        """Return the name of the only group whose terms occur in the texts; `None` for no group or several."""
        groups = self.groups_in(texts)
        return self.groups[groups.pop()] if len(groups) == 1 else None

    def replace(self, text: str, targets: Mapping[int, int]) -> str:
        """Return a text with terms replaced by their counterparts, in the same case and with the right article.

        Args:
            text: any text.
            targets: group to the group of its counterparts, by index; the terms of other groups stay.
        """
        parts, position = [], 0
        for mention in self.mentions(text):
            counterpart = self._counterpart(mention, targets)
            if counterpart is None:
                continue
            original = text[mention.start : mention.end]
            parts += [
                _with_article(text[position : mention.start], original, counterpart),
                _with_case(counterpart, original),
            ]
            position = mention.end
        return "".join([*parts, text[position:]])

    def copies(self, texts: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """Yield copies of a record's texts in which the terms of each group are those of another one.

        With two groups, the terms are exchanged in one copy. With more, there is a copy for each rotation of the
        groups, so that a text and its copies together mention all groups equally often. Copies without a change are
        left out.
        """
        number = len(self.groups)
        for shift in range(1, number):
            targets = {group: (group + shift) % number for group in range(number)}
            copy = tuple(self.replace(text, targets) for text in texts)
            if copy != tuple(texts):
                yield copy

    def _counterpart(self, mention: Mention, targets: Mapping[int, int]) -> str | None:
        target = targets.get(mention.group)
        return None if target is None else self.rows[mention.row][target]

    @functools.cached_property
    def _by_term(self) -> dict[str, dict[bool, tuple[int, int]]]:
        """Term to its group and row, by whether it is the form before a noun. The first row of a term is used."""
        by_term: dict[str, dict[bool, tuple[int, int]]] = {}
        for row, terms in enumerate(self.rows):
            for group, term in enumerate(terms):
                if term is not None:
                    by_term.setdefault(_key(term), {}).setdefault(self.forms[row][group], (group, row))
        return by_term

    @functools.cached_property
    def _pattern(self) -> re.Pattern:
        terms = {*self.kept, *(term for row in self.rows for term in row if term is not None)}
        return re.compile(_expression(terms), re.IGNORECASE)


def load_terms(name: str) -> TermList:
    """Return a built-in list, or the one of a file.

    Args:
        name: the name of a built-in list, or a path.

    Raises:
        ValueError: there is no such list or file, or the file is invalid; the message names its line.
    """
    path = _LISTS_DIR / f"{name}.txt" if name in BUILT_IN else Path(name)
    if not path.is_file():
        raise ValueError(
            f"{name}: is neither a list of terms ({', '.join(BUILT_IN)}) nor a file{did_you_mean(name, BUILT_IN)}"
        )
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: is not UTF-8 ({error.reason} at byte {error.start})") from error
    return _parsed(name, text, hashlib.sha256(content).hexdigest())


def listed_terms(value: str | None, path: str) -> tuple[TermList, ...]:
    """Return the lists that a config field names.

    Args:
        value: names or paths, separated by commas or as a JSON list; `None` for none.
        path: the config path of the field, for messages.

    Raises:
        ValueError: the value is malformed, names a list twice, or one cannot be read.
    """
    names = listed_names(value, path)
    if len(set(names)) < len(names):
        raise ValueError(f"{path}={value}: names a list twice; expected different lists")
    try:
        return tuple(map(load_terms, names))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _parsed(name: str, content: str, sha256: str) -> TermList:
    """Return the list in the content of a file."""
    description, groups = "", ()
    rows: list[tuple[str | None, ...]] = []
    forms: list[tuple[bool, ...]] = []
    kept: list[str] = []
    seen: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        where, line = f"{name}:{number}", line.strip()
        if not line or line.startswith("#"):
            description = description or line.lstrip("# ")
            continue
        directive, _, rest = line.partition(":")
        if directive == "keep":
            kept += _cells(where, rest)
        elif directive == "groups" or not groups:
            if directive != "groups" or groups:
                raise ValueError(f"{where}: is {shown(line)}; {_EXPECTED_GROUPS}, once and before the terms")
            groups = tuple(_cells(where, rest))
            if len(set(groups)) < max(2, len(groups)):
                raise ValueError(f"{where}: has the groups {shown(rest.strip())}; {_EXPECTED_GROUPS}, all different")
        else:
            terms, are_before_noun = _terms(where, line, groups)
            _reject_other_group(where, terms, seen, number)
            rows.append(terms)
            forms.append(are_before_noun)
    if not rows:
        raise ValueError(f"{name}: has no terms; {_EXPECTED_GROUPS}, and lines with a term for each group")
    return TermList(name, description, groups, tuple(rows), tuple(forms), tuple(kept), sha256)


def _cells(where: str, line: str) -> list[str]:
    cells = [cell.strip() for cell in line.split("|")]
    if not all(cells):
        raise ValueError(f"{where}: {shown(line.strip())} has an empty place; expected texts separated by |")
    return cells


def _terms(where: str, line: str, groups: Sequence[str]) -> tuple[tuple[str | None, ...], tuple[bool, ...]]:
    """Return the terms of a line by group, and which of them are the form before a noun."""
    cells = _cells(where, line)
    if len(cells) != len(groups):
        raise ValueError(
            f"{where}: has {len(cells)} terms; expected {len(groups)}, one for each of {', '.join(groups)}"
        )
    are_before_noun = tuple(cell.endswith(_NOUN) for cell in cells)
    plain = [cell.removesuffix(_NOUN).strip() for cell in cells]
    terms = tuple(None if term == _NO_COUNTERPART else term for term in plain)
    for term in terms:
        if term is not None and not any(map(str.isalnum, term)):
            raise ValueError(f"{where}: term {shown(term)} has no letter or digit; expected a word, or - for none")
    if sum(term is not None for term in terms) < 2:
        raise ValueError(f"{where}: has no counterparts; expected terms of at least two groups")
    return terms, are_before_noun


def _reject_other_group(where: str, terms: Sequence[str | None], seen: dict[str, tuple[int, int]], number: int) -> None:
    """Reject a term of two groups. A term may be in several rows: `mom | dad` and `mum | dad`."""
    for group, term in enumerate(terms):
        if term is not None:
            other, line = seen.setdefault(_key(term), (group, number))
            if other != group:
                raise ValueError(
                    f"{where}: {shown(term)} is a term of another group on line {line}; expected one group"
                )


def _key(term: str) -> str:
    return " ".join(term.split()).casefold()


def _expression(terms: Iterable[str]) -> str:
    """Return a regular expression that finds terms, with the borders of words in scripts that have spaces."""
    word = rf"[^\W{_UNSPACED}]"
    by_borders: dict[tuple[bool, bool], list[str]] = {}
    # The longest one first: of two alternatives that match, the first one is found.
    for term in sorted(terms, key=lambda term: (-len(term), term)):
        has_borders = tuple(re.fullmatch(word, character) is not None for character in (term[0], term[-1]))
        by_borders.setdefault(has_borders, []).append(r"\s+".join(map(re.escape, term.split())))
    # The borders are common to the alternatives, so that most positions of a text are ruled out at once.
    return "|".join(
        f"{f'(?<!{word})' if first else ''}(?:{'|'.join(bodies)}){f'(?!{word})' if last else ''}"
        for (first, last), bodies in by_borders.items()
    )


def _is_before_noun(text: str, end: int) -> bool:
    following = _NEXT_WORD.match(text, end)
    return following is not None and following[1].lower() not in _NOT_IN_NOUN_PHRASE


def _with_case(term: str, original: str) -> str:
    """Return a term in the case of the word that it replaces."""
    if original.isupper() and len(original) > 1:
        return term.upper()
    return term.lower() if original.islower() else term[0].upper() + term[1:]


def _with_article(before: str, original: str, counterpart: str) -> str:
    """Return the text before a replaced word, with `a` and `an` exchanged if the new word needs it."""
    needs_n = _starts_with_vowel(counterpart)
    if needs_n == _starts_with_vowel(original):
        return before
    return _ARTICLE.sub(lambda article: f"{article[1]}{'n' if needs_n else ''}{article[2]}", before)


def _starts_with_vowel(word: str) -> bool:
    word = word.lower()
    return word[0] in "aeiou" and not word.startswith(_LIKE_A_CONSONANT)
