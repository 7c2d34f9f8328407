"""Reader for CoNLL-U: ten columns per word, with the tag in one of them or under a key of the column MISC.

Source: https://universaldependencies.org/format.html
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tfbert.text.readers.columns import listing, named_columns, option, shown
from tfbert.text.readers.rows import Row, Source

FIELDS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
_ID = re.compile(r"(\d+)(?:-(\d+)|\.(\d+))?")
# Usual keys of named entities in MISC, in lower case.
_KEYS = ("ner", "ne", "entity", "bio", "iob")
_SNIFFED_LINES = 2000  # examined for the key of the tags
_EXPECTED = "expected the ten columns of CoNLL-U, separated by TABs"


@dataclass(frozen=True, slots=True)
class _Word:
    """A line of a sentence: a word or, with `last`, a surface token that consists of several words."""

    number: int
    first: int
    last: int | None
    form: str
    tag: str | None
    separator: str


def looks_like_conllu(lines: Iterable[str]) -> bool:
    """Return whether the first line of words has ten columns that begin with a number."""
    for line in itertools.islice(lines, _SNIFFED_LINES):
        if line.strip() and not line.startswith("#"):
            cells = line.rstrip("\r\n").split("\t")
            return len(cells) == len(FIELDS) and _ID.fullmatch(cells[0]) is not None
    return False


def conllu_rows(source: Source) -> Iterator[Row | str]:
    """Yield a row per sentence with `words`, `tags`, `lines` (their line numbers) and `separators` (text after each).

    The words are the surface tokens: a multi-word token such as `3-4` is one word, with the first tag of its words
    other than O. A word without the key of the tags has the tag O. Comments and empty nodes such as `8.1` are skipped
    and counted.

    Raises:
        ValueError: no column or key contains tags.
    """
    source.layout.kind, source.layout.header = "CoNLL-U", "no column names"
    stream = enumerate(itertools.chain(source.lines(), [""]), start=1)
    head = list(itertools.islice(stream, _SNIFFED_LINES))
    column = _tag_column(head, source)
    source.layout.used = {"words": ["FORM"], "tags": [column]}
    words: list[_Word] = []
    error = None
    for number, raw_line in itertools.chain(head, stream):
        line = raw_line.rstrip("\r\n")
        where = f"{source.name}:{number}"
        if line.startswith("#"):
            source.layout.count("comment line")
        elif line.strip():
            word = _read_word(line, number, column, source)
            if isinstance(word, _Word):
                words.append(word)
            elif word is None:
                source.layout.count("empty node")
            else:
                error = error or f"{where}: {word}"
        elif words or error:
            yield error or _sentence(words, source.name)
            words, error = [], None


def _tag_column(head: Sequence[tuple[int, str]], source: Source) -> str:
    """Return the column of the tags, or their key in MISC."""
    rows = [line.rstrip("\r\n").split("\t") for _, line in head if line.strip() and not line.startswith("#")]
    keys = dict.fromkeys(key for row in rows if len(row) == len(FIELDS) for key in _misc(row[-1]))
    if not rows:
        return "NER"  # the file has no words
    assigned = named_columns(source.columns, source.data.columns).get("tags")
    if assigned:
        if assigned[0] not in (*FIELDS, *keys):
            listed = f"columns {', '.join(FIELDS)} and the keys {listing(list(keys))} of MISC"
            raise ValueError(f"{source.name}: data.columns=tags={assigned[0]} is not one of the {listed}")
        return assigned[0]
    usual = [key for key in keys if key.lower() in _KEYS]
    if len(usual) != 1:
        problem = f"more than one key of MISC could be the tags: {listing(usual)}" if usual else ""
        problem = problem or f"no tags among the keys {listing(list(keys))} of MISC"
        expected = f"expected NER, or another key or column with {option('data.columns', 'tags=XPOS')}"
        raise ValueError(f"{source.name}: {problem}; {expected}")
    return usual[0]


def _misc(cell: str) -> dict[str, str]:
    return dict(entry.partition("=")[::2] for entry in cell.split("|") if "=" in entry)


def _read_word(line: str, number: int, column: str, source: Source) -> _Word | str | None:
    """Return the word of a line, `None` for an empty node, or an error message."""
    cells = line.split("\t")
    if len(cells) != len(FIELDS):
        return f"{len(cells)} column{'s' * (len(cells) > 1)} ({listing(cells)}); {_EXPECTED}"
    match = _ID.fullmatch(cells[0])
    if match is None or not cells[1]:
        return f"ID {shown(cells[0])} and FORM {shown(cells[1])}; {_EXPECTED}"
    first, last, empty = match.groups()
    if empty is not None:
        return None
    misc = _misc(cells[-1])
    tag = cells[FIELDS.index(column)] if column in FIELDS else misc.get(column)
    separator = "" if misc.get("SpaceAfter") == "No" else source.data.word_separator
    tag = None if tag in (None, "_") else tag
    return _Word(number, int(first), last and int(last), cells[1], tag, separator)


def _sentence(words: Sequence[_Word], name: str) -> Row:
    """Return the row of a sentence, with each multi-word token in place of its words."""
    surface: list[_Word] = []
    tags: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        inner = []
        while word.last and position < len(words) and words[position].first <= word.last:
            inner.append(words[position].tag)
            position += 1
        surface.append(word)
        tags.append(word.tag or next((tag for tag in inner if tag not in (None, "O")), "O"))
    values = {
        "words": [word.form for word in surface],
        "tags": tags,
        "lines": [word.number for word in surface],
        "separators": [word.separator for word in surface],
    }
    return Row(f"{name}:{surface[0].number}", values)
