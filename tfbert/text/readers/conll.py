"""Reader for CoNLL columns: one word and its tag per line, one row per sentence."""

import itertools
import re
from collections.abc import Iterable, Iterator

from tfbert.text.readers.columns import listing, shown
from tfbert.text.readers.layout import Layout, Values
from tfbert.text.readers.rows import Row, Source

# A tag of any scheme for a word at the beginning of, inside or outside an entity.
TAG = re.compile(r"O|[BIESLUM][-_]\S+")
_METADATA = re.compile(r"#\s*[\w.:-]+\s*=")
_WORD_NAMES = frozenset(["word", "words", "token", "tokens", "text", "form"])
_TAG_NAMES = frozenset(["tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "entity", "iob", "bio"])
_SNIFFED_LINES, _MIN_TAGGED_FRACTION = 200, 0.9  # lines examined, and the fraction of them that must have a tag


def looks_like_conll(lines: Iterable[str]) -> bool:
    """Return whether lines look like CoNLL columns, with a word first and a tag such as `O` or `B-PER` last.

    Only the first 200 lines are read.
    """
    cells = [line.split() for line in itertools.islice(lines, _SNIFFED_LINES)]
    cells = [line for line in cells if line and line[0] != "-DOCSTART-" and not line[0].startswith("#")]
    num_tagged = sum(len(line) > 1 and TAG.fullmatch(line[-1]) is not None for line in cells)
    # Files with tags without a prefix, such as PER, also count, so that the reader reports these lines. Most of their
    # words have the tag O.
    num_outside = sum(len(line) > 1 and line[-1] == "O" for line in cells)
    num_regular = sum(len(line) == len(cells[0]) > 1 for line in cells)
    has_plain_tags = 2 * num_outside >= len(cells) and num_regular >= _MIN_TAGGED_FRACTION * len(cells)
    return num_tagged >= 2 and (num_tagged >= _MIN_TAGGED_FRACTION * len(cells) or has_plain_tags)


def conll_rows(source: Source) -> Iterator[Row | str]:
    """Yield a row per sentence with `words` and `tags`, the first and last column, and `lines`, their line numbers.

    A line without words or a `-DOCSTART-` line ends a sentence. Comments before a sentence, as in CoNLL-U, and column
    names on the first line are skipped and counted. A sentence with an error yields a message instead.

    Source: the layout of the CoNLL-2002 and 2003 shared tasks, Tjong Kim Sang and De Meulder 2003; comments as in
        CoNLL-U, Universal Dependencies.
    """
    name, layout = source.name, source.layout
    layout.kind, layout.header, header = "CoNLL columns", "no column names", None
    words, tags, numbers, error = [], [], [], None
    for number, raw_line in enumerate(itertools.chain(source.lines(), [""]), start=1):
        line = raw_line.rstrip("\r\n")
        cells = _cells(line)
        if cells and _is_comment(line, cells, is_inside=bool(words)):
            layout.count("comment line")
            continue
        if cells and _is_header(cells):
            if not layout.used and not words:
                header, layout.header = cells, f"column names on line {number}"
                continue
            error = error or (f"{name}:{number}: repeats the line of column names ({listing(cells)}); remove it")
        is_document = bool(cells) and cells[0].upper().startswith("-DOCSTART-")
        if is_document:
            layout.count("-DOCSTART- line")
        if cells and not is_document:
            layout.used = layout.used or _columns(cells, header, layout)
            error = error or _error_message(line, cells, f"{name}:{number}")
            words.append(cells[0])
            tags.append(cells[-1])
            numbers.append(number)
        elif words:
            yield error or Row(f"{name}:{numbers[0]}", {"words": words, "tags": tags, "lines": numbers})
            words, tags, numbers, error = [], [], [], None


def _cells(line: str) -> list[str]:
    # Only TABs and spaces separate columns: a word may be a zero-width or other unusual character.
    return [cell for cell in line.replace("\t", " ").split(" ") if cell]


def _is_comment(line: str, cells: list[str], *, is_inside: bool) -> bool:
    # A sentence may begin with the word "#" or with a hashtag, which then has a tag. Inside a sentence a hashtag
    # without a tag is an error, not a comment.
    begins = line.startswith(("# ", "#begin ", "#end ")) if is_inside else line.startswith("#")
    has_tag = TAG.fullmatch(cells[-1]) is not None and not (_METADATA.match(line) and not is_inside)
    return begins and not has_tag


def _is_header(cells: list[str]) -> bool:
    return len(cells) > 1 and cells[0].lower() in _WORD_NAMES and cells[-1].lower() in _TAG_NAMES


def _columns(cells: list[str], header: list[str] | None, layout: Layout) -> dict[str, list[str]]:
    names = header if header and len(header) == len(cells) else [f"column {n}" for n in range(1, len(cells) + 1)]
    layout.unused = {column: Values() for column in names[1:-1]}
    return {"words": [names[0]], "tags": [names[-1]]}


def _error_message(line: str, cells: list[str], where: str) -> str | None:
    """Return the error message for a line without a word or a tag, or `None` if the line is valid."""
    first, tab, _ = line.partition("\t")
    is_empty = not first.strip(" ") if tab else line.startswith(" ") and len(cells) == 1
    if is_empty and TAG.fullmatch(cells[-1]):
        return f"{where}: the word before the tag {shown(cells[-1])} is empty; expected a word and a tag"
    return None if len(cells) > 1 else f"{where}: {shown(cells[0])} has no tag; expected a word and a tag"
