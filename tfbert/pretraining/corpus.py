"""Reading of a corpus: files of plain text or jsonl, streamed as documents without duplicates.

Memory holds the document at hand and some 100 bytes for every document before it.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tfbert.nearest import did_you_mean
from tfbert.pretraining.config import CorpusConfig
from tfbert.text.columns import listing, shown, shown_json
from tfbert.text.lines import Tally, check_encoding, find_surrogate, open_binary, read_lines

_JSONL = (".jsonl", ".ndjson")
_TABLES = (".csv", ".tsv", ".json")
_HASHES = 2**64
# What `Corpus.facts` counts: files, and those of them that are empty; documents with duplicates, which are counted
# again by themselves; documents of blanks, which are left out; characters of what is left; characters that did not
# decode.
FACTS = ("files", "empty_files", "documents", "duplicates", "blank_documents", "characters", "replaced")
# Two documents at least are held out and two learned from, so that each has another one's text beside its own.
LEAST_DOCUMENTS = 4


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the corpus.

    Args:
        path: where it is; whatever `open_bytes` takes.
        name: how places and messages call it.
    """

    path: str
    name: str


@dataclass(frozen=True, slots=True)
class Document:
    """One text.

    Args:
        text: with the line breaks it has in the file, never blank.
        where: `notes.txt:41`, the line on which it starts; where the file is the document, its name alone.
        digest: 32 bytes; of the text with every run of blanks as one.
    """

    text: str
    where: str
    digest: bytes

    @property
    def number(self) -> int:
        """A number below 2**64 by which documents are held out."""
        return int.from_bytes(self.digest[:8])


class Survey:
    """What a pass over documents found; surveys of parts can be merged.

    Attributes:
        num_documents: different ones.
        num_characters, num_bytes: of their text, in UTF-8.
        smallest: the smallest two of the documents' numbers, in order.
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
        """Count what another part found."""
        for name in ("num_documents", "num_characters", "num_bytes", "_sum"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.smallest = sorted(self.smallest + other.smallest)[:2]

    @property
    def sha256(self) -> str:
        """64 hex digits that tell the set of documents, whatever their order."""
        return f"{self._sum % 2**256:064x}"

    def limit(self, fraction: float) -> int:
        """Return the number below which documents are held out: the fraction of all numbers, but two documents.

        Args:
            fraction: of the documents to hold out, 0 to 1.

        Raises:
            ValueError: the corpus is empty, or too small to hold out any of it.
        """
        if self.num_documents < LEAST_DOCUMENTS:
            has = f"{_plural(self.num_documents, 'document')} of {self.num_characters:,} characters"
            raise ValueError(
                f"the corpus has {has}; wanted {LEAST_DOCUMENTS} or more, so that some can be held out: more text, or "
                "shorter documents by line breaks and --set corpus.documents=line"
            )
        return max(int(fraction * _HASHES), self.smallest[1] + 1)


class Corpus:
    """Streams the different documents of all files, afresh at every `iter()`.

    Attributes:
        files: in the order of reading.
        facts: counts of the pass begun last, by the names in `FACTS`.

    Raises:
        ValueError: on creation, for a path that is missing or of a kind that is not text. On iterating, for a file
            that is no text or not as the config says, and at the end if there was not a document.
    """

    def __init__(self, config: CorpusConfig):
        check_encoding(config.encoding, "corpus")
        self.config = config
        self.files = list_files(config)
        self.facts: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Document]:
        facts = self.facts = Counter()
        seen: set[bytes] = set()
        for file in self.files:
            for document in read_documents(file, self.config, facts):
                key = document.digest[:16]
                if key in seen:
                    facts["duplicates"] += 1
                    continue
                seen.add(key)
                facts["characters"] += len(document.text)
                yield document
        check_facts(facts)


def check_facts(facts: Counter[str]) -> None:
    """Refuse a corpus without a document.

    Raises:
        ValueError: there is none.
    """
    if not facts["documents"]:
        empty = f", {facts['empty_files']:,} of them empty" if facts["empty_files"] else ""
        raise ValueError(f"the corpus has no text in {_plural(facts['files'], 'file')}{empty}; wanted some")


def describe(facts: Counter[str]) -> str:
    """Return the counts of `Corpus.facts` in one line for a person."""
    kept = facts["documents"] - facts["duplicates"]
    line = f"{_plural(facts['files'], 'file')}, {_plural(kept, 'document')}, {facts['characters']:,} characters"
    others = {
        "duplicates": "duplicates dropped",
        "empty_files": "empty files",
        "blank_documents": "blank documents",
        "replaced": "characters replaced",
    }
    return ", ".join([line, *(f"{facts[name]:,} {words}" for name, words in others.items() if facts[name])])


def list_files(config: CorpusConfig) -> list[SourceFile]:
    """Return the files of the paths, those of directories in the order of their names; hidden ones are left out.

    Raises:
        ValueError: there are no paths; one is missing or holds no file; one is a table and `corpus.format` is `auto`.
    """
    if not config.paths:
        raise ValueError("corpus.paths is empty; wanted files or directories of text")
    files: dict[str, SourceFile] = {}
    for given in config.paths:
        path = Path(given).expanduser()
        if not path.exists():
            raise ValueError(f"{given}: no such file or directory; wanted text")
        found = [path]
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.is_file() and _is_visible(file.relative_to(path)))
        if not found:
            raise ValueError(f"{given}: no file in this directory; wanted text")
        for file in found:
            files.setdefault(os.path.abspath(file), SourceFile(str(file), str(file)))
    for file in files.values():
        check_name(file.name, config)
    return list(files.values())


def check_name(name: str, config: CorpusConfig) -> None:
    """Refuse a file that its name tells to be no text.

    Raises:
        ValueError: it is a table or JSON, and `corpus.format` is `auto`.
    """
    if config.format == "auto" and _plain(name).endswith(_TABLES):
        raise ValueError(
            f"{name}: neither text nor jsonl by its name; wanted a file of documents, or --set corpus.format=text to "
            "read it as it stands"
        )


def read_documents(
    file: SourceFile,
    config: CorpusConfig,
    facts: Counter[str],
    open_bytes: Callable[[str], BinaryIO] = open_binary,
) -> Iterator[Document]:
    """Yield the documents of one file, duplicates among them.

    Args:
        file: to read.
        config: what a document is.
        facts: counted up as in `Corpus.facts`.
        open_bytes: opens a path, wherever it is.

    Raises:
        ValueError: the file cannot be read, is binary, does not decode, or holds a line of jsonl without its text.
    """
    facts["files"] += 1
    tally, is_empty = Tally(), True

    def lines(tally: Tally) -> Iterator[str]:
        read = read_lines(file.path, file.name, config, tally, section="corpus", open_bytes=open_bytes)
        for number, line in enumerate(read, start=1):
            if "\0" in line:
                raise ValueError(f"{file.name}:{number}: a NUL character; is it a binary file? wanted text")
            yield line

    if config.format == "jsonl" or (config.format == "auto" and _plain(file.name).endswith(_JSONL)):
        texts = _jsonl_texts(lines(tally), file.name, config.text_key)
    else:
        kind = _kind(lines(Tally())) if config.documents == "auto" else config.documents
        texts = _KINDS[kind](lines(tally), file.name)
    for text, where in texts:
        is_empty = False
        words = text.split()
        if not words:
            facts["blank_documents"] += 1
            continue
        facts["documents"] += 1
        yield Document(text, where, hashlib.sha256(" ".join(words).encode()).digest())
    facts["empty_files"] += is_empty
    facts["replaced"] += tally.num_replaced


def _kind(lines: Iterable[str]) -> str:
    """Return what a document is: up to blank lines if one is between others, the file if one line has text, or a line.

    Reads no further than needed to tell.
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


def _whole(lines: Iterable[str], name: str) -> Iterator[tuple[str, str]]:
    text = "".join(lines)
    if text.strip():
        yield text, name


def _each(lines: Iterable[str], name: str) -> Iterator[tuple[str, str]]:
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


_KINDS = {"file": _whole, "line": _each, "blank_line": _blocks}


def _jsonl_texts(lines: Iterable[str], name: str, key: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{name}:{number}"
            yield _json_text(line, where, key), where


def _json_text(line: str, where: str, key: str) -> str:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        message = getattr(error, "msg", error)
        raise ValueError(f"{where}: not JSON ({message}); wanted an object with the key {key!r} on each line") from None
    if not isinstance(found, dict):
        raise ValueError(f"{where}: {shown_json(found)} is not an object; wanted one with the key {key!r}")
    if key not in found:
        wish = f"name the key of the text by --set corpus.text_key=...{did_you_mean(key, found)}"
        raise ValueError(f"{where}: no key {key!r} among {listing(list(found))}; {wish}")
    text = found[key]
    if not isinstance(text, str):
        raise ValueError(f"{where}: {key} is {shown_json(text)}; wanted a string")
    if (position := find_surrogate(text)) is not None:
        raise ValueError(f"{where}: {text[position]!r} in {shown(text)} is half a character; wanted valid Unicode")
    return text


def _is_visible(path: Path) -> bool:
    return not any(part.startswith(".") for part in path.parts)


def _plain(name: str) -> str:
    return name.lower().removesuffix(".gz")


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
