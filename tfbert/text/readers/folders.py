"""Reader for a directory with one subdirectory of `.txt` files per class."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tfbert.text.readers.columns import shown
from tfbert.text.readers.compression import uncompressed_name
from tfbert.text.readers.rows import Row, Source

_MAX_CLASSES = 8  # shown in the layout


def folder_rows(source: Source) -> Iterator[Row]:
    """Yield a row per file, with its text and the name of its directory as the label."""
    columns = source.columns
    for label, path in class_files(source.path):
        text = "".join(source.lines_of(path))
        yield Row(source.name_of(path), {columns[0].role: text, columns[-1].role: label})


def describe_folder(source: Source) -> None:
    """Fill the layout from the names of the files, without reading them."""
    counts = Counter(label for label, _ in class_files(source.path))
    classes = [f"{shown(label)} {number:,}" for label, number in itertools.islice(counts.items(), _MAX_CLASSES)]
    classes += ["..."] * (len(counts) > _MAX_CLASSES)
    source.layout.kind = f"one directory per label: {', '.join(classes)}"
    source.layout.encoding = source.data.encoding
    source.layout.used = {"label": ["directory names"], "text": [".txt files"]}


def class_files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the class and path of each file, sorted by name."""
    for folder in visible(path):
        if folder.is_dir():
            files = (file for file in visible(folder) if uncompressed_name(file.name).lower().endswith(".txt"))
            yield from ((folder.name, file) for file in files if file.is_file())


def visible(folder: Path) -> list[Path]:
    """Return the sorted entries of a directory, except those whose names begin with a dot."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
