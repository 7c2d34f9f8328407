"""Preparation of a corpus: a directory of shards of packed rows, made by several processes.

The corpus is read twice: to find out how large it is, and to put each document's text with those of its shard. A shard
is then one process's work: it needs its own documents only, so that its bytes do not depend on who else is at work, and
a shard that was finished before a kill is not made again.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import struct
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tfbert.files import locked, move_into_place, read_json, write_json, writing
from tfbert.pretraining import segmenters, shards
from tfbert.pretraining.config import CorpusConfig, ExamplesConfig
from tfbert.pretraining.corpus import FACTS, Corpus, Document, Survey, describe
from tfbert.pretraining.packing import Packer
from tfbert.pretraining.rows import FORMAT, INDEX
from tfbert.pretraining.wordpieces import WordPieces

logger = logging.getLogger(__name__)

_SHARD_BYTES = 4 * 2**20
_MOST_SHARDS = 500
# So many documents that a shard next to never has only one, which would find no other's text.
_DOCUMENTS_PER_SHARD = 16
_BUFFER_BYTES = 2**17
_PLAN, _DOCUMENTS = "plan.json", "documents"
_RECORD = struct.Struct("<32sQQ")


@dataclass(frozen=True)
class Plan:
    """Where each document goes.

    Args:
        limit: documents whose number is below it are held out.
        num_shards: of each split.
    """

    limit: int
    num_shards: dict[str, int]

    def place(self, document: Document) -> tuple[str, int]:
        """Return split and number of the shard of a document."""
        split = "held_out" if document.number < self.limit else "train"
        return split, int.from_bytes(document.digest[8:16]) * self.num_shards[split] >> 64


def plan_shards(survey: Survey, corpus: CorpusConfig, examples: ExamplesConfig) -> Plan:
    """Return how documents are spread: held out by hash, and over shards by hash.

    Raises:
        ValueError: there are too few documents to hold some out.
    """
    fraction = corpus.held_out_fraction
    by_size = -(-survey.num_bytes // _SHARD_BYTES)
    by_number = int(survey.num_documents * (1 - fraction)) // _DOCUMENTS_PER_SHARD
    num_train = examples.num_shards or max(1, min(by_size, by_number, _MOST_SHARDS))
    held_out = int(num_train * fraction / (1 - fraction))
    num_held_out = max(1, min(held_out, int(survey.num_documents * fraction) // _DOCUMENTS_PER_SHARD))
    return Plan(survey.limit(fraction), {"train": num_train, "held_out": num_held_out})


def shard_name(split: str, number: int, plan: Plan) -> str:
    """Return the file name of a shard."""
    return f"{split}-{number:05d}-of-{plan.num_shards[split]:05d}.tfrecord.gz"


def make_shard(documents: Iterable[Document], split: str, packer: Packer) -> tuple[bytes, dict[str, Any]]:
    """Return the file of a shard and what the index says of it, but for its name.

    Args:
        documents: of the shard, in any order.
        split: held-out documents are packed once, others as often as `passes` says.
        packer: makes the rows.

    Raises:
        ValueError: the segmenter gives no words of the text.
    """
    documents = list(documents)
    rows = packer.rows(documents, packer.examples.passes if split == "train" else 1)
    columns = shards.columns_of(rows, packer.word_pieces)
    content = shards.encode(columns)
    return content, {
        "sha256": hashlib.sha256(content).hexdigest(),
        "num_bytes": len(content),
        "num_documents": len(documents),
        "num_rows": len(rows),
        "num_tokens": int(columns.token_ids.size),
    }


def settings_of(corpus: CorpusConfig, examples: ExamplesConfig, word_pieces: WordPieces, survey: Survey) -> dict:
    """Return all that decides the bytes of the shards, ready for JSON."""
    corpus_config, examples_config = (json.loads(json.dumps(dataclasses.asdict(c))) for c in (corpus, examples))
    vocabulary = {"sha256": word_pieces.sha256, "size": len(word_pieces.vocabulary), "dtype": word_pieces.dtype.name}
    return {
        "format": FORMAT,
        "config": {"corpus": corpus_config, "examples": examples_config},
        "vocabulary": vocabulary | word_pieces.rules,
        "corpus": {"sha256": survey.sha256},
    }


def finish_index(settings: dict, facts: Counter[str], found: dict[str, list[dict]]) -> dict[str, Any]:
    """Return the index of a directory.

    Args:
        settings: of `settings_of`.
        facts: of the corpus, as `Corpus.facts`.
        found: of each split, what `make_shard` says of its shards, with names.

    Raises:
        ValueError: the train split has no rows, or the held-out split.
    """
    splits = {}
    for split, listed in found.items():
        listed = sorted(listed, key=lambda shard: shard["name"])
        totals = {n: sum(shard[n] for shard in listed) for n in ("num_documents", "num_rows", "num_tokens")}
        if not totals["num_rows"]:
            wish = "more text, or another corpus.held_out_fraction"
            raise ValueError(f"{split}: no rows of {totals['num_documents']} documents; wanted {wish}")
        splits[split] = totals | {"shards": listed}
    return settings | {"corpus": settings["corpus"] | {name: facts[name] for name in FACTS}, "splits": splits}


def prepare(
    corpus: CorpusConfig,
    examples: ExamplesConfig,
    word_pieces: WordPieces,
    out_dir: Path,
    *,
    num_processes: int | None = None,
) -> dict[str, Any]:
    """Write the shards of a corpus, and go on where a killed process was; what is there already is left.

    Needs disk for the text once beside the shards while it works.

    Args:
        corpus: which text.
        examples: how it becomes rows.
        word_pieces: of the encoder that will read them.
        out_dir: appears when all is done; one with other prepared rows is replaced then.
        num_processes: that make shards; `None` means one for each core.

    Returns:
        The index, as in `index.json`.

    Raises:
        ValueError: the corpus cannot be read or is too small, the segmenter cannot be used, `out_dir` holds something
            else, or another process is preparing it.
    """
    out_dir = Path(out_dir)
    check_out(out_dir)
    if examples.segmenter:
        segmenters.load_segmenter(examples.segmenter)
    reader, survey = Corpus(corpus), Survey()
    for document in _progress(reader, "reading"):
        survey.add(document)
    facts = Counter(reader.facts)
    logger.info("corpus: %s", describe(facts))
    settings = settings_of(corpus, examples, word_pieces, survey)
    if (out_dir / INDEX).is_file() and _is_same(read_json(out_dir / INDEX), settings):
        logger.info("%s: is prepared already", out_dir)
        return read_json(out_dir / INDEX)
    plan = plan_shards(survey, corpus, examples)
    aside = aside_of(out_dir)
    with locked(aside, "preparing it"):
        _begin(aside, settings, plan, reader)
        found = _make_all(aside, plan, examples, word_pieces, num_processes or os.cpu_count())
        index = finish_index(settings, facts, found)
        _finish(aside, index)
        move(aside, out_dir)
    return index


def check_out(out_dir: Path) -> None:
    """Refuse to put rows where something else is.

    Raises:
        ValueError: the directory holds anything but prepared rows, or is a file.
    """
    if out_dir.is_file() or (out_dir.is_dir() and any(out_dir.iterdir()) and not (out_dir / INDEX).is_file()):
        raise ValueError(f"{out_dir}: holds something else than prepared rows; wanted a new directory")


def _is_same(index: dict, settings: dict) -> bool:
    same = index | {"corpus": {"sha256": index["corpus"]["sha256"]}}
    same.pop("splits", None)
    return same == settings


def _begin(aside: Path, settings: dict, plan: Plan, reader: Corpus) -> None:
    """Put the documents of each shard together, unless an earlier process has."""
    if (aside / _PLAN).is_file() and read_json(aside / _PLAN) == settings:
        logger.info("%s: going on with what is there", aside)
        return
    clear(aside)
    (aside / _DOCUMENTS).mkdir()
    buffers: dict[Path, bytearray] = {}
    again = Survey()
    for document in _progress(reader, "spreading"):
        again.add(document)
        path = _documents_path(aside, *plan.place(document))
        buffer = buffers.setdefault(path, bytearray())
        text, where = document.text.encode(), document.where.encode("utf-8", "surrogateescape")
        buffer += _RECORD.pack(document.digest, len(where), len(text)) + where + text
        if len(buffer) > _BUFFER_BYTES:
            _append(path, buffer)
    for path, buffer in buffers.items():
        _append(path, buffer)
    if again.sha256 != settings["corpus"]["sha256"]:
        raise ValueError("the corpus changed while it was read; wanted files that stay as they are")
    write_json(aside / _PLAN, settings)


def aside_of(out_dir: Path) -> Path:
    """Return the directory in which one is prepared; it is made."""
    aside = out_dir.parent / f".{out_dir.name}.part"
    aside.mkdir(parents=True, exist_ok=True)
    return aside


def move(aside: Path, out_dir: Path) -> None:
    """Put a finished directory into its place, without its lock."""
    move_into_place(aside, out_dir)
    (out_dir / ".lock").unlink()


def clear(aside: Path) -> None:
    """Leave nothing in a directory but its lock."""
    for entry in aside.iterdir():
        if entry.name != ".lock":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _append(path: Path, buffer: bytearray) -> None:
    with writing(path), open(path, "ab") as stream:
        stream.write(buffer)
    buffer.clear()


def _documents_path(aside: Path, split: str, number: int) -> Path:
    return aside / _DOCUMENTS / f"{split}-{number:05d}"


def _read_documents(path: Path) -> Iterator[Document]:
    if not path.exists():
        return
    with open(path, "rb") as stream:
        while head := stream.read(_RECORD.size):
            digest, where_size, text_size = _RECORD.unpack(head)
            where = stream.read(where_size).decode("utf-8", "surrogateescape")
            yield Document(stream.read(text_size).decode(), where, digest)


def _make_all(
    aside: Path, plan: Plan, examples: ExamplesConfig, word_pieces: WordPieces, num_processes: int
) -> dict[str, list[dict]]:
    """Make the shards that are not there yet, and return what is said of all by split."""
    jobs = [(split, number) for split, count in plan.num_shards.items() for number in range(count)]
    found: dict[str, list[dict]] = {split: [] for split in plan.num_shards}
    sizes = {job: _num_bytes(_documents_path(aside, *job)) for job in jobs}
    bar = tqdm(total=sum(sizes.values()), desc="packing", unit="B", unit_scale=True, leave=False, disable=None)
    state = (aside, plan, examples, word_pieces, segmenters.allowed())
    with bar, _executor(min(num_processes, len(jobs)), state) as executor:
        futures = {executor.submit(_make, *job): job for job in jobs}
        try:
            for future in concurrent.futures.as_completed(futures):
                split = futures[future][0]
                found[split].append(future.result())
                bar.update(sizes[futures[future]])
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
    return found


def _num_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _executor(num_processes: int, state: tuple) -> concurrent.futures.Executor:
    if num_processes == 1:
        return concurrent.futures.ThreadPoolExecutor(1, initializer=_set_state, initargs=state)
    return concurrent.futures.ProcessPoolExecutor(
        num_processes, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=state
    )


_state: dict[str, Any] = {}


def _set_state(
    aside: Path, plan: Plan, examples: ExamplesConfig, word_pieces: WordPieces, allowed: tuple[str, ...]
) -> None:
    segmenters.allow(*allowed)
    _state.update(aside=aside, plan=plan, packer=Packer(examples, word_pieces))


def _start_worker(*state) -> None:
    _set_state(*state)
    # A worker that waits for work does not notice when the process that gives it was killed.
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _make(split: str, number: int) -> dict[str, Any]:
    """Make one shard in `aside`, or return what was said of it when it was made."""
    aside, plan = _state["aside"], _state["plan"]
    name = shard_name(split, number, plan)
    said = aside / f"{name}.json"
    if said.is_file():
        return read_json(said)
    content, facts = make_shard(_read_documents(_documents_path(aside, split, number)), split, _state["packer"])
    with writing(aside / name):
        (aside / name).write_bytes(content)
    write_json(said, {"name": name} | facts)
    return {"name": name} | facts


def _finish(aside: Path, index: dict[str, Any]) -> None:
    """Leave nothing but shards and index."""
    shutil.rmtree(aside / _DOCUMENTS)
    for path in [*aside.glob("*.tfrecord.gz.json"), aside / _PLAN]:
        path.unlink()
    write_json(aside / INDEX, index)


def _progress(reader: Corpus, title: str) -> Iterator[Document]:
    with tqdm(desc=title, unit="char", unit_scale=True, leave=False, disable=None) as bar:
        for document in reader:
            bar.update(len(document.text))
            yield document
