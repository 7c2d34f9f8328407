"""Reader for brat's standoff format: a directory with a `.txt` and an `.ann` file per document.

Source: https://brat.nlplab.org/standoff.html
"""

import re
from collections.abc import Iterator
from pathlib import Path

from tfbert.text.readers.columns import shown
from tfbert.text.readers.rows import Row, Source

_TEXT, _ANNOTATIONS = ".txt", ".ann"
_PATTERNS = ("[!.]*", "[!.]*/[!.]*")  # not in hidden directories
_ENTITY = re.compile(r"T\S*\t(\S+) (\d+) (\d+)\t(.*)")
_DISCONTINUOUS = re.compile(r"T\S*\t\S+ \d+ \d+(;\d+ \d+)+\t.*")
# Annotations that are not spans, by the first character of their id.
_SKIPPED = {
    "R": "relation",
    "*": "equivalence",
    "E": "event",
    "A": "attribute",
    "M": "attribute",
    "N": "normalization",
    "#": "note",
}


def is_brat(path: Path) -> bool:
    """Return whether a directory or one of its subdirectories contains `.ann` files."""
    return path.is_dir() and any(next(path.glob(pattern + _ANNOTATIONS), None) for pattern in _PATTERNS)


def brat_files(path: Path) -> tuple[Path, ...]:
    """Return the `.txt` and `.ann` files of a directory and its subdirectories, sorted by name."""
    suffixes = (_TEXT, _ANNOTATIONS)
    return tuple(sorted(f for pattern in _PATTERNS for suffix in suffixes for f in path.glob(pattern + suffix)))


def brat_rows(source: Source) -> Iterator[Row | str]:
    """Yield a row per document, with its text and its entities.

    Relations, events, attributes, normalizations and notes are skipped and counted. A document with a discontinuous
    entity or a line of another form yields a message instead.
    """
    layout = source.layout
    layout.kind, layout.used = "brat's standoff format", {"text": [".txt files"], "entities": [".ann files"]}
    for stem in dict.fromkeys(path.with_suffix("") for path in brat_files(source.path)):
        text_path, annotation_path = (stem.with_name(stem.name + suffix) for suffix in (_TEXT, _ANNOTATIONS))
        missing = next((path for path in (text_path, annotation_path) if not path.exists()), None)
        if missing:
            other = annotation_path if missing == text_path else text_path
            yield f"{source.name_of(other)}: no file {missing.name}; expected a .txt and an .ann file per document"
        else:
            yield _document(text_path, annotation_path, source)


def _document(text_path: Path, annotation_path: Path, source: Source) -> Row | str:
    text = "".join(source.lines_of(text_path))
    entities = []
    for number, raw_line in enumerate(source.lines_of(annotation_path), start=1):
        line = raw_line.rstrip("\r\n")
        where = f"{source.name_of(annotation_path)}:{number}"
        if not line.strip():
            continue
        if line[0] in _SKIPPED:
            source.layout.count(_SKIPPED[line[0]])
        elif match := _ENTITY.fullmatch(line):
            label, start, end, stated = match[1], int(match[2]), int(match[3]), match[4]
            # The stated text is on one line.
            is_equal = re.sub(r"[\r\n]", " ", text[start:end]) == stated
            entities.append({"start": start, "end": end, "label": label} | ({} if is_equal else {"text": stated}))
        elif _DISCONTINUOUS.fullmatch(line):
            return f"{where}: discontinuous entity {shown(line)}; expected one start and one end"
        else:
            return f"{where}: {shown(line)} is not an annotation of brat; expected such as 'T1<TAB>Person 0 3<TAB>Ada'"
    return Row(source.name_of(text_path), {"text": text, "entities": entities})
