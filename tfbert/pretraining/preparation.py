"""Preparation of a corpus: a directory of shards of packed sequences, made by several processes.

The corpus is read twice: first to measure its size, then to group the documents by shard. Each shard is made by one
process from its own documents, so its bytes do not depend on the number of processes, and shards that were finished
before a kill are kept.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import struct
import sys
import threading
import types
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tfbert.files import locked, move_into_place, read_json, write_json, writing
from tfbert.pretraining import segmenters, shards
from tfbert.pretraining.config import CorpusConfig, ExamplesConfig
from tfbert.pretraining.corpus import COUNTS, Corpus, Document, Survey, describe
from tfbert.pretraining.packing import Packer
from tfbert.pretraining.sequences import FORMAT, INDEX, Index, ShardEntry
from tfbert.pretraining.wordpieces import WordPieces
from tfbert.progress_bars import hidden

logger = logging.getLogger(__name__)

_SHARD_BYTES = 4 * 2**20
_MAX_SHARDS = 500
# Enough that a shard hardly ever has a single document, whose pairs would have no other document to take text from.
_DOCUMENTS_PER_SHARD = 16
_BUFFER_BYTES = 2**17
_PLAN, _DOCUMENTS = "plan.json", "documents"
_RECORD = struct.Struct("<32sQQ")


@dataclass(frozen=True)
class ShardPlan:
    """Assigns documents to splits and shards by hash.

    Args:
        limit: documents whose `number` is below it are held out.
        num_shards: number of shards of each split.
    """

    limit: int
    num_shards: dict[str, int]

    def shard_of(self, document: Document) -> tuple[str, int]:
        """Return split and number of the shard of a document."""
        split = "held_out" if document.number < self.limit else "train"
        return split, int.from_bytes(document.digest[8:16]) * self.num_shards[split] >> 64


def plan_shards(survey: Survey, corpus: CorpusConfig, examples: ExamplesConfig) -> ShardPlan:
    """Return the plan for a corpus of this size.

    Raises:
        ValueError: there are too few documents to hold some out.
    """
    fraction = corpus.held_out_fraction
    by_size = -(-survey.num_bytes // _SHARD_BYTES)
    by_number = int(survey.num_documents * (1 - fraction)) // _DOCUMENTS_PER_SHARD
    num_train = examples.num_shards or max(1, min(by_size, by_number, _MAX_SHARDS))
    held_out = int(num_train * fraction / (1 - fraction))
    num_held_out = max(1, min(held_out, int(survey.num_documents * fraction) // _DOCUMENTS_PER_SHARD))
    return ShardPlan(survey.limit(fraction), {"train": num_train, "held_out": num_held_out})


def shard_name(split: str, number: int, plan: ShardPlan) -> str:
    """Return the file name of a shard."""
    return f"{split}-{number:05d}-of-{plan.num_shards[split]:05d}.tfrecord.gz"


def make_shard(documents: Iterable[Document], split: str, packer: Packer) -> tuple[bytes, dict[str, Any]]:
    """Return the content of a shard and its entry in the index, without its name.

    Args:
        documents: documents of the shard in any order.
        split: held-out documents are packed once, those of `train` in `examples.passes` passes.
        packer: packs the documents.

    Raises:
        ValueError: the segmenter returns words that are not in the text.
    """
    documents = list(documents)
    sequences = packer.pack(documents, packer.examples.passes if split == "train" else 1)
    columns = shards.to_columns(sequences, packer.word_pieces)
    content = shards.encode(columns)
    return content, {
        "sha256": hashlib.sha256(content).hexdigest(),
        "num_bytes": len(content),
        "num_documents": len(documents),
        "num_rows": len(sequences),
        "num_tokens": int(columns.token_ids.size),
    }


def index_settings(corpus: CorpusConfig, examples: ExamplesConfig, word_pieces: WordPieces, survey: Survey) -> dict:
    """Return everything that determines the bytes of the shards, in JSON types."""
    corpus_config, examples_config = (json.loads(json.dumps(dataclasses.asdict(c))) for c in (corpus, examples))
    vocabulary = {"sha256": word_pieces.sha256, "size": len(word_pieces.vocabulary), "dtype": word_pieces.dtype.name}
    return {
        "format": FORMAT,
        "config": {"corpus": corpus_config, "examples": examples_config},
        "vocabulary": vocabulary | word_pieces.rules._asdict(),
        "corpus": {"sha256": survey.sha256},
    }


def make_index(settings: dict, counts: Counter[str], entries: dict[str, list[ShardEntry]]) -> Index:
    """Return the content of `index.json`.

    Args:
        settings: result of `index_settings`.
        counts: `Corpus.counts` of the corpus.
        entries: entries of the shards with their names, by split.

    Raises:
        ValueError: a split has no sequences.
    """
    splits = {}
    for split, shard_entries in entries.items():
        shard_entries = sorted(shard_entries, key=lambda entry: entry["name"])
        totals = {n: sum(entry[n] for entry in shard_entries) for n in ("num_documents", "num_rows", "num_tokens")}
        if not totals["num_rows"]:
            raise ValueError(
                f"{split}: no sequences from {totals['num_documents']} documents; expected more text, or another "
                "corpus.held_out_fraction"
            )
        splits[split] = totals | {"shards": shard_entries}
    return settings | {"corpus": settings["corpus"] | {name: counts[name] for name in COUNTS}, "splits": splits}


def prepare(
    corpus: CorpusConfig,
    examples: ExamplesConfig,
    word_pieces: WordPieces,
    out_dir: Path,
    *,
    num_processes: int | None = None,
) -> Index:
    """Write the shards of a corpus, continuing the work of a killed process; existing shards of the same are kept.

    Temporarily needs disk space for a copy of the text.

    Args:
        corpus: files of text.
        examples: lengths, pairs, passes and segmenter.
        word_pieces: tokenizer of the encoder to pretrain.
        out_dir: appears when it is complete; other prepared sequences in it are then replaced.
        num_processes: number of processes that make shards; `None` means one per core.

    Returns:
        The content of `index.json`.

    Raises:
        ValueError: the corpus cannot be read or is too small, the segmenter cannot be used, `out_dir` holds other
            files, or another process is preparing it.
    """
    out_dir = Path(out_dir)
    check_out_dir(out_dir)
    if examples.segmenter:
        segmenters.load_segmenter(examples.segmenter)
    reader, survey = Corpus(corpus), Survey()
    for document in _progress(reader, "reading"):
        survey.add(document)
    counts = Counter(reader.counts)
    logger.info("corpus: %s", describe(counts))
    settings = index_settings(corpus, examples, word_pieces, survey)
    if (out_dir / INDEX).is_file() and _has_settings(read_json(out_dir / INDEX), settings):
        logger.info("%s: already prepared", out_dir)
        return read_json(out_dir / INDEX)
    plan = plan_shards(survey, corpus, examples)
    temporary_dir = make_temporary_dir(out_dir)
    with locked(temporary_dir, "preparing it"):
        _group_documents(temporary_dir, settings, plan, reader)
        entries = _make_shards(temporary_dir, plan, examples, word_pieces, num_processes or os.cpu_count())
        index = make_index(settings, counts, entries)
        _finish(temporary_dir, index)
        move(temporary_dir, out_dir)
    return index


def check_out_dir(out_dir: Path) -> None:
    """Refuse a directory with other content than prepared sequences.

    Raises:
        ValueError: the directory has other content, or is a file.
    """
    if out_dir.is_file() or (out_dir.is_dir() and any(out_dir.iterdir()) and not (out_dir / INDEX).is_file()):
        raise ValueError(f"{out_dir}: does not hold prepared sequences; expected a new directory")


def _has_settings(index: Index, settings: dict) -> bool:
    stored = index | {"corpus": {"sha256": index["corpus"]["sha256"]}}
    stored.pop("splits", None)
    return stored == settings


def _group_documents(temporary_dir: Path, settings: dict, plan: ShardPlan, reader: Corpus) -> None:
    """Write the documents of each shard to one file, unless an earlier process has done so."""
    if (temporary_dir / _PLAN).is_file() and read_json(temporary_dir / _PLAN) == settings:
        logger.info("%s: continuing an earlier preparation", temporary_dir)
        return
    clear(temporary_dir)
    (temporary_dir / _DOCUMENTS).mkdir()
    buffers: dict[Path, bytearray] = {}
    survey = Survey()
    for document in _progress(reader, "grouping"):
        survey.add(document)
        path = _documents_path(temporary_dir, *plan.shard_of(document))
        buffer = buffers.setdefault(path, bytearray())
        text, where = document.text.encode(), document.where.encode("utf-8", "surrogateescape")
        buffer += _RECORD.pack(document.digest, len(where), len(text)) + where + text
        if len(buffer) > _BUFFER_BYTES:
            _append(path, buffer)
    for path, buffer in buffers.items():
        _append(path, buffer)
    if survey.sha256 != settings["corpus"]["sha256"]:
        raise ValueError("the corpus changed while it was read; expected files that do not change")
    write_json(temporary_dir / _PLAN, settings)


def make_temporary_dir(out_dir: Path) -> Path:
    """Create the temporary directory in which an output directory is prepared, and return it."""
    temporary_dir = out_dir.parent / f".{out_dir.name}.part"
    temporary_dir.mkdir(parents=True, exist_ok=True)
    return temporary_dir


def move(temporary_dir: Path, out_dir: Path) -> None:
    """Rename a complete temporary directory to the output directory and remove its lock."""
    move_into_place(temporary_dir, out_dir)
    (out_dir / ".lock").unlink()


def clear(temporary_dir: Path) -> None:
    """Remove the content of a directory except its lock."""
    for path in temporary_dir.iterdir():
        if path.name != ".lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _append(path: Path, buffer: bytearray) -> None:
    with writing(path), open(path, "ab") as stream:
        stream.write(buffer)
    buffer.clear()


def _documents_path(temporary_dir: Path, split: str, number: int) -> Path:
    return temporary_dir / _DOCUMENTS / f"{split}-{number:05d}"


def _read_documents(path: Path) -> Iterator[Document]:
    if not path.exists():
        return
    with open(path, "rb") as stream:
        while head := stream.read(_RECORD.size):
            digest, where_size, text_size = _RECORD.unpack(head)
            where = stream.read(where_size).decode("utf-8", "surrogateescape")
            yield Document(stream.read(text_size).decode(), where, digest)


def _make_shards(
    temporary_dir: Path, plan: ShardPlan, examples: ExamplesConfig, word_pieces: WordPieces, num_processes: int
) -> dict[str, list[ShardEntry]]:
    """Make the missing shards, and return the entries of all shards by split."""
    keys = [(split, number) for split, count in plan.num_shards.items() for number in range(count)]
    entries: dict[str, list[ShardEntry]] = {split: [] for split in plan.num_shards}
    sizes = {key: _num_bytes(_documents_path(temporary_dir, *key)) for key in keys}
    bar = tqdm(total=sum(sizes.values()), desc="packing", unit="B", unit_scale=True, leave=False, disable=hidden())
    state = (temporary_dir, plan, examples, word_pieces, segmenters.allowed())
    with bar, _executor(min(num_processes, len(keys)), state) as executor:
        with _without_main_module():
            futures = {executor.submit(_make_or_read_shard, *key): key for key in keys}
        try:
            for future in concurrent.futures.as_completed(futures):
                split = futures[future][0]
                entries[split].append(future.result())
                bar.update(sizes[futures[future]])
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
    return entries


def _num_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _executor(num_processes: int, state: tuple) -> concurrent.futures.Executor:
    if num_processes == 1:
        return concurrent.futures.ThreadPoolExecutor(1, initializer=_set_state, initargs=state)
    return concurrent.futures.ProcessPoolExecutor(
        num_processes, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=state
    )


@contextlib.contextmanager
def _without_main_module() -> Iterator[None]:
    """Hide the main module from processes started inside a `with` block, which would run a user's script again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


_state: dict[str, Any] = {}


def _set_state(
    temporary_dir: Path, plan: ShardPlan, examples: ExamplesConfig, word_pieces: WordPieces, allowed: tuple[str, ...]
) -> None:
    segmenters.allow(*allowed)
    _state.update(temporary_dir=temporary_dir, plan=plan, packer=Packer(examples, word_pieces))


def _start_worker(*state) -> None:
    _set_state(*state)
    # A worker that waits for work does not notice that its parent process was killed.
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _make_or_read_shard(split: str, number: int) -> ShardEntry:
    """Write one shard and return its entry in the index; a shard with a stored entry is kept."""
    temporary_dir, plan = _state["temporary_dir"], _state["plan"]
    name = shard_name(split, number, plan)
    entry_path = temporary_dir / f"{name}.json"
    if entry_path.is_file():
        return read_json(entry_path)
    documents = _read_documents(_documents_path(temporary_dir, split, number))
    content, entry = make_shard(documents, split, _state["packer"])
    entry = {"name": name} | entry
    with writing(temporary_dir / name):
        (temporary_dir / name).write_bytes(content)
    write_json(entry_path, entry)
    return entry


def _finish(temporary_dir: Path, index: Index) -> None:
    """Remove everything but the shards, and write the index."""
    shutil.rmtree(temporary_dir / _DOCUMENTS)
    for path in [*temporary_dir.glob("*.tfrecord.gz.json"), temporary_dir / _PLAN]:
        path.unlink()
    write_json(temporary_dir / INDEX, index)


def _progress(reader: Corpus, title: str) -> Iterator[Document]:
    with tqdm(desc=title, unit="char", unit_scale=True, leave=False, disable=hidden()) as bar:
        for document in reader:
            bar.update(len(document.text))
            yield document
