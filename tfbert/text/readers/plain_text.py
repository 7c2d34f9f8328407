"""Reader for lines of `text<separator>label`, and for fastText lines."""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from tfbert.config import DataConfig
from tfbert.text.readers.columns import Column, delimiter_name, option, plain_name, shown
from tfbert.text.readers.rows import Row, Source

_SNIFFED_LINES = 20  # examined for fastText's labels
_FASTTEXT = re.compile(r"(?:^|(?<=\s))__label__(\S+)(?:\s+|$)")


def text_rows(source: Source) -> Iterator[Row | str]:
    """Yield a row per line of text, separator and label; lines are split at the last separator.

    The text has the role of the first column, the label that of the last. A first line with column names is skipped and
    determines the order of text and label. Files with `__label__` are read as fastText does.

    Source: the layout of fastText's supervised mode, Joulin et al. 2017.
    """
    name, data, columns, layout = source.name, source.data, source.columns, source.layout
    stream = ((number, line.rstrip("\r\n")) for number, line in enumerate(source.lines(), start=1))
    head = list(itertools.islice(((number, line) for number, line in stream if line), _SNIFFED_LINES))
    if not head:
        return
    first, stream = head[0], itertools.chain(head[1:], stream)
    roles, header = (columns[0].role, columns[-1].role), _header_order(first[1], data, columns)
    layout.used = {role: [name] for role, name in zip(roles, ("before the last", "after the last"), strict=True)}
    layout.kind = f"lines of text, {delimiter_name(data.separator)} and label"
    layout.header = f"column names on line {first[0]}" if header else "no column names"
    rest = stream if header else itertools.chain([first], stream)
    if any(_FASTTEXT.search(line) for _, line in head):
        layout.kind = "fastText lines"
        layout.used = {roles[1]: ["words with __label__"], roles[0]: ["the other words"]}
        yield from _fasttext_rows(rest, name, roles)
        return
    label_names = set(columns[-1].usual_names.split(", ")) | set(columns[0].usual_names.split(", "))
    for number, line in rest:
        text, separator, label = line.rpartition(data.separator)
        if separator and plain_name(label) in label_names and _header_order(line, data, columns):
            yield f"{name}:{number}: repeats the line of column names ({shown(line)}); remove it"
        elif separator:
            values = (label, text) if header == (1, 0) else (text, label)
            yield Row(f"{name}:{number}", dict(zip(roles, values, strict=True)))
        elif line:
            yield f"{name}:{number}: {_no_separator(line, data)}"


def _header_order(line: str, data: DataConfig, columns: Sequence[Column]) -> tuple[int, int] | None:
    """Return the positions of text and label in a header line, or `None` if the line is not a header."""
    text, separator, label = map(plain_name, line.rpartition(data.separator))
    if not text or not label:
        return None
    if columns[0].key_among([text]) and columns[-1].key_among([label]):
        return 0, 1
    return (1, 0) if columns[0].key_among([label]) and columns[-1].key_among([text]) else None


def _fasttext_rows(lines: Iterable[tuple[int, str]], name: str, roles: tuple[str, str]) -> Iterator[Row | str]:
    for number, line in lines:
        labels, text = _FASTTEXT.findall(line), _FASTTEXT.sub("", line)
        if labels:
            label = labels[0] if len(labels) == 1 else labels
            yield Row(f"{name}:{number}", dict(zip(roles, (text, label), strict=True)))
        elif line:
            yield f"{name}:{number}: no __label__ in {shown(line)}; expected one, as in other lines"


def _no_separator(line: str, data: DataConfig) -> str:
    other = next((character for character in ",;|@" if character in line and character != data.separator), None)
    advice = f"; for another separator, such as {other!r}: {option('data.separator', other)}" if other else ""
    expected = f"expected the text, {data.separator!r} and the label"
    return f"no separator {data.separator!r} in {shown(line)}; {expected}{advice}"
