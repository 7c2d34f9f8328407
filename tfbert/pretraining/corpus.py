"""Corpus reader: streams documents from plain text and jsonl files and drops duplicates.

Memory holds the current document and about 100 bytes for every earlier one.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

from tfbert.nearest import did_you_mean
from tfbert.pretraining.config import CorpusConfig
from tfbert.text.readers.columns import listing, shown, shown_json
from tfbert.text.readers.compression import uncompressed_name
from tfbert.text.readers.lines import Tally, check_encoding, find_surrogate, open_binary, read_lines

_JSONL = (".jsonl", ".ndjson")
_TABLES = (".csv", ".tsv", ".json")
_HASHES = 2**64
# Names in `Corpus.counts`. `documents` includes `duplicates` but not `blank_documents`, which are only whitespace and
# are dropped; `characters` are those of the documents that are kept; `replaced` did not decode.
COUNTS = ("files", "empty_files", "documents", "duplicates", "blank_documents", "characters", "replaced")
# Each split needs two documents, so that a pair can take its second segment from another document.
MIN_DOCUMENTS = 4


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the corpus.

    Args:
        path: anything that `open_bytes` accepts.
        name: its name in locations and messages.
    """

    path: str
    name: str


def corpus_name(paths: Sequence[str]) -> str:
    """Return the name of a corpus for its report: that of its first file or directory, and how many more there are.

    Args:
        paths: the files and directories of the corpus; at least one.
    """
    path = Path(paths[0]).resolve()
    first = path.name if path.is_dir() else PurePath(uncompressed_name(path.name)).stem
    return first if len(paths) == 1 else f"{first} and {len(paths) - 1:,} more"


@dataclass(frozen=True, slots=True)
class Document:
    """One text.

    Args:
        text: with its line breaks; not only whitespace.
        where: the line on which it starts, such as `notes.txt:41`; the name of the file if it is the whole file.
        digest: SHA-256 of the text after every run of whitespace became one space.
    """

    text: str
    where: str
    digest: bytes

    @property
    def number(self) -> int:
        """A hash below 2**64 that decides whether the document is held out."""
        return int.from_bytes(self.digest[:8])


class Survey:
    """Size and fingerprint of a set of documents; surveys of disjoint sets can be merged.

    Attributes:
        num_documents: number of distinct documents.
        num_characters, num_bytes: size of their text, the bytes in UTF-8.
        smallest: the two smallest `Document.number`, ascending.
    """

    def __init__(self):
        self.num_documents = self.num_characters = self.num_bytes = self._sum = 0
        self.smallest: list[int] = []

    def add(self, document: Document) -> None:
        """Count one document."""
        self.num_documents += 1
        self.num_characters += len(document.text)
        self.num_bytes += len(document.text.encode())
        self._sum += int.from_bytes(document.digest)
        self.smallest = sorted([*self.smallest, document.number])[:2]

    def merge(self, other: "Survey") -> None:
        """Add the counts of another survey."""
        for name in ("num_documents", "num_characters", "num_bytes", "_sum"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.smallest = sorted(self.smallest + other.smallest)[:2]

    @property
    def sha256(self) -> str:
        """Fingerprint of the set of documents, 64 hexadecimal digits; it does not depend on their order."""
        return f"{self._sum % 2**256:064x}"

    def limit(self, fraction: float) -> int:
        """Return the `Document.number` below which documents are held out; at least two documents are below it.

        Args:
            fraction: fraction of the documents to hold out, 0 to 1.

        Raises:
            ValueError: the corpus is too small to hold out documents.
        """
        if self.num_documents < MIN_DOCUMENTS:
            size = f"{_plural(self.num_documents, 'document')} of {self.num_characters:,} characters"
            raise ValueError(
                f"the corpus has {size}; expected {MIN_DOCUMENTS} or more, so that some can be held out: add text, or "
                "make every line a document with --set corpus.documents=line"
            )
        return max(int(fraction * _HASHES), self.smallest[1] + 1)


class Corpus:
    """Streams the distinct documents of all files; every `iter()` starts a new pass.

    Attributes:
        files: in the order in which they are read.
        counts: counts of the latest pass by the names in `COUNTS`.

    Raises:
        ValueError: on creation, if a path does not exist or is not a text file; during iteration, if a file cannot be
            read as the config describes it, and at the end if there was no document.
    """

    def __init__(self, config: CorpusConfig):
        check_encoding(config.encoding, "corpus")
        self.config = config
        self.files = list_files(config)
        self.counts: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Document]:
        counts = self.counts = Counter()
        seen: set[bytes] = set()
        for file in self.files:
            for document in read_documents(file, self.config, counts):
                key = document.digest[:16]
                if key in seen:
                    counts["duplicates"] += 1
                    continue
                seen.add(key)
                counts["characters"] += len(document.text)
                yield document
        if not counts["documents"]:
            empty = f", {counts['empty_files']:,} of them empty" if counts["empty_files"] else ""
            raise ValueError(f"the corpus has no text in {_plural(counts['files'], 'file')}{empty}; expected some")


def describe(counts: Counter[str]) -> str:
    """Return the counts of a corpus as one readable line."""
    kept = counts["documents"] - counts["duplicates"]
    line = f"{_plural(counts['files'], 'file')}, {_plural(kept, 'document')}, {counts['characters']:,} characters"
    others = {
        "duplicates": "duplicates dropped",
        "empty_files": "empty files",
        "blank_documents": "documents without text",
        "replaced": "characters replaced",
    }
    return ", ".join([line, *(f"{counts[name]:,} {words}" for name, words in others.items() if counts[name])])


def list_files(config: CorpusConfig) -> list[SourceFile]:
    """Return the files of all paths, those of a directory sorted by name; hidden files are skipped.

    Raises:
        ValueError: there are no paths; a path does not exist or has no files; a file is a table and `corpus.format` is
            `auto`.
    """
    if not config.paths:
        raise ValueError("corpus.paths is empty; expected files or directories of text")
    files: dict[str, SourceFile] = {}
    for name in config.paths:
        path = Path(name).expanduser()
        if not path.exists():
            raise ValueError(f"{name}: no such file or directory; expected text")
        members = [path]
        if path.is_dir():
            members = sorted(file for file in path.rglob("*") if file.is_file() and _is_visible(file.relative_to(path)))
        if not members:
            raise ValueError(f"{name}: no file in this directory; expected text")
        for file in members:
            files.setdefault(os.path.abspath(file), SourceFile(str(file), str(file)))
    for file in files.values():
        check_name(file.name, config)
    return list(files.values())


def check_name(name: str, config: CorpusConfig) -> None:
    """Refuse a file whose name ends like that of a table or of JSON.

    Raises:
        ValueError: it does, and `corpus.format` is `auto`.
    """
    if config.format == "auto" and uncompressed_name(name).lower().endswith(_TABLES):
        raise ValueError(
            f"{name}: neither text nor jsonl by its name; expected a file of documents, or --set corpus.format=text to "
            "read it as plain text"
        )


def read_documents(
    file: SourceFile,
    config: CorpusConfig,
    counts: Counter[str],
    open_bytes: Callable[[str], BinaryIO] = open_binary,
) -> Iterator[Document]:
    """Yield the documents of one file, including duplicates.

    Args:
        file: the file to read.
        config: format, encoding and document boundaries.
        counts: updated with the names in `COUNTS`.
        open_bytes: opens a path for reading bytes.

    Raises:
        ValueError: the file cannot be read, is binary, does not decode, or a line of jsonl has no text.
    """
    counts["files"] += 1
    tally, is_empty = Tally(), True

    def lines(tally: Tally) -> Iterator[str]:
        read = read_lines(file.path, file.name, config, tally, section="corpus", open_bytes=open_bytes)
        for number, line in enumerate(read, start=1):
            if "\0" in line:
                raise ValueError(f"{file.name}:{number}: a NUL character; is it a binary file? expected text")
            yield line

    if config.format == "jsonl" or (config.format == "auto" and uncompressed_name(file.name).lower().endswith(_JSONL)):
        texts = _jsonl_texts(lines(tally), file.name, config.text_key)
    else:
        kind = _detect_documents(lines(Tally())) if config.documents == "auto" else config.documents
        texts = _SPLITTERS[kind](lines(tally), file.name)
    for text, where in texts:
        is_empty = False
        words = text.split()
        if not words:
            counts["blank_documents"] += 1
            continue
        counts["documents"] += 1
        yield Document(text, where, hashlib.sha256(" ".join(words).encode()).digest())
    counts["empty_files"] += is_empty
    counts["replaced"] += tally.num_replaced


def _detect_documents(lines: Iterable[str]) -> str:
    """Return `blank_line` if an empty line separates lines of text, `file` if one line has text, otherwise `line`.

    Stops reading as soon as the answer is known.
    """
    num_lines, is_blank_before = 0, False
    for line in lines:
        if not line.strip():
            is_blank_before = num_lines > 0
        elif is_blank_before:
            return "blank_line"
        else:
            num_lines += 1
    return "line" if num_lines > 1 else "file"


def _whole_file(lines: Iterable[str], name: str) -> Iterator[tuple[str, str]]:
    text = "".join(lines)
    if text.strip():
        yield text, name


def _single_lines(lines: Iterable[str], name: str) -> Iterator[tuple[str, str]]:
    yield from ((line, f"{name}:{number}") for number, line in enumerate(lines, start=1) if line.strip())


def _blocks(lines: Iterable[str], name: str) -> Iterator[tuple[str, str]]:
    block, first = [], 0
    for number, line in enumerate(lines, start=1):
        if line.strip():
            first = first if block else number
            block.append(line)
        elif block:
            yield "".join(block), f"{name}:{first}"
            block = []
    if block:
        yield "".join(block), f"{name}:{first}"


_SPLITTERS = {"file": _whole_file, "line": _single_lines, "blank_line": _blocks}


def _jsonl_texts(lines: Iterable[str], name: str, key: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{name}:{number}"
            yield _json_text(line, where, key), where


def _json_text(line: str, where: str, key: str) -> str:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        message = getattr(error, "msg", error)
        raise ValueError(
            f"{where}: not JSON ({message}); expected an object with the key {key!r} on each line"
        ) from None
    if not isinstance(value, dict):
        raise ValueError(f"{where}: {shown_json(value)} is not an object; expected one with the key {key!r}")
    if key not in value:
        remedy = f"name the key of the text with --set corpus.text_key=...{did_you_mean(key, value)}"
        raise ValueError(f"{where}: no key {key!r} among {listing(list(value))}; {remedy}")
    text = value[key]
    if not isinstance(text, str):
        raise ValueError(f"{where}: {key} is {shown_json(text)}; expected a string")
    if (position := find_surrogate(text)) is not None:
        raise ValueError(f"{where}: {text[position]!r} in {shown(text)} is half a character; expected valid Unicode")
    return text


def _is_visible(path: Path) -> bool:
    return not any(name.startswith(".") for name in path.parts)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
