"""Distributed preparation of a corpus as an Apache Beam pipeline; it writes the same shards as `preparation`.

Workers need this package with `apache-beam`, `tokenizers` and NumPy, but no TensorFlow.
"""

import contextlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsSingleton, TaggedOutput

from tfbert.files import locked
from tfbert.pretraining import preparation, segmenters
from tfbert.pretraining.config import CorpusConfig, ExamplesConfig
from tfbert.pretraining.corpus import (
    COUNTS,
    Document,
    SourceFile,
    Survey,
    check_name,
    describe,
    list_files,
    read_documents,
)
from tfbert.pretraining.packing import Packer
from tfbert.pretraining.preparation import ShardPlan
from tfbert.pretraining.sequences import INDEX, Index, ShardEntry
from tfbert.pretraining.wordpieces import WordPieces

logger = logging.getLogger(__name__)

_COUNTS = "counts"
# Split and number of a shard.
ShardKey = tuple[str, int]


def prepare(
    corpus: CorpusConfig,
    examples: ExamplesConfig,
    word_pieces: WordPieces,
    out_dir: str,
    options: Sequence[str] = (),
) -> Index:
    """Write the shards of a corpus with the runner that the options name, and wait until it has finished.

    Args:
        corpus: `paths` may also name files and directories of any file system that Beam knows, such as
            `gs://bucket/folder/`; the name of a directory ends with a slash.
        examples: lengths, pairs, passes and segmenter.
        word_pieces: tokenizer of the encoder to pretrain.
        out_dir: local, or on any file system that Beam knows. The index is written after all shards; a local directory
            appears only when it is complete.
        options: options of Beam and its runner, such as `--runner=DataflowRunner`; without any, Beam's local runner is
            used.

    Returns:
        The content of `index.json`. It and the shards equal those of `preparation.prepare`.

    Raises:
        ValueError: the corpus cannot be read or is too small, the segmenter cannot be used, or `out_dir` is not empty.
    """
    files = _list_files(corpus)
    if examples.segmenter:
        segmenters.load_segmenter(examples.segmenter)
    with contextlib.ExitStack() as stack:
        work_dir = _make_work_dir(out_dir, stack)
        with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
            _build_pipeline(pipeline, files, corpus, examples, word_pieces, work_dir)
        with FileSystems.open(f"{work_dir}/{INDEX}") as stream:
            index = json.load(stream)
        logger.info("corpus: %s", describe(Counter({name: index["corpus"][name] for name in COUNTS})))
        if "://" not in out_dir:
            preparation.move(Path(work_dir), Path(out_dir))
    return index


def _make_work_dir(out_dir: str, stack: contextlib.ExitStack) -> str:
    """Return the directory to write to: a remote directory itself, or a locked temporary one for a local directory."""
    if "://" in out_dir:
        work_dir = out_dir.rstrip("/")
        if FileSystems.exists(f"{work_dir}/{INDEX}"):
            raise ValueError(f"{out_dir}: holds prepared sequences; expected a new directory")
        return work_dir
    preparation.check_out_dir(Path(out_dir))
    temporary_dir = preparation.make_temporary_dir(Path(out_dir))
    stack.enter_context(locked(temporary_dir, "preparing it"))
    preparation.clear(temporary_dir)
    return str(temporary_dir)


def _build_pipeline(
    pipeline: beam.Pipeline,
    files: list[SourceFile],
    corpus: CorpusConfig,
    examples: ExamplesConfig,
    word_pieces: WordPieces,
    work_dir: str,
) -> None:
    """Build the pipeline, from files to the index."""
    read = (
        pipeline
        | "Files" >> beam.Create(list(enumerate(files)))
        | "SpreadFiles" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(_Read(corpus)).with_outputs(_COUNTS, main="documents")
    )
    # The first of equal documents is kept, because they may differ in whitespace.
    documents = read.documents | "DropDuplicates" >> beam.CombinePerKey(min) | "Documents" >> beam.Map(_to_document)
    survey = documents | "Survey" >> beam.CombineGlobally(_SurveyFn())
    plan = survey | "Plan" >> beam.Map(preparation.plan_shards, corpus, examples)
    assigned = documents | "Assign" >> beam.Map(_assign_shard, AsSingleton(plan))
    # Shards without documents are written too.
    empty = plan | "EmptyShards" >> beam.FlatMap(_empty_shards)
    shards = (
        (assigned, empty)
        | "WithEmpty" >> beam.Flatten()
        | "Shards" >> beam.GroupByKey()
        | "Write" >> beam.ParDo(_Write(examples, word_pieces, work_dir), AsSingleton(plan))
    )
    counts = read[_COUNTS] | "Counts" >> beam.CombineGlobally(_add_counts)
    (
        shards
        | "Entries" >> beam.combiners.ToList()
        | "Index"
        >> beam.Map(
            _write_index,
            AsSingleton(survey),
            AsSingleton(counts),
            settings=(corpus, examples, word_pieces),
            work_dir=work_dir,
        )
    )


class _Read(beam.DoFn):
    """Read the documents of a numbered file, keyed by hash and numbered so that the first of equal ones can be kept."""

    def __init__(self, corpus: CorpusConfig):
        self._corpus = corpus

    def process(self, numbered: tuple[int, SourceFile]) -> Iterator:
        file_number, file = numbered
        counts: Counter[str] = Counter()
        documents = read_documents(file, self._corpus, counts, _open)
        for number, document in enumerate(documents):
            yield document.digest[:16], (file_number, number, document.text, document.where, document.digest)
        yield TaggedOutput(_COUNTS, dict(counts))


class _SurveyFn(beam.CombineFn):
    """Combine documents into a `Survey`."""

    def create_accumulator(self) -> Survey:
        return Survey()

    def add_input(self, survey: Survey, document: Document) -> Survey:
        survey.add(document)
        return survey

    def merge_accumulators(self, surveys: Iterable[Survey]) -> Survey:
        total = Survey()
        for survey in surveys:
            total.merge(survey)
        return total

    def extract_output(self, survey: Survey) -> Survey:
        return survey


class _Write(beam.DoFn):
    """Write the shard of some documents and return its entry in the index."""

    def __init__(self, examples: ExamplesConfig, word_pieces: WordPieces, work_dir: str):
        self._examples, self._word_pieces, self._work_dir = examples, word_pieces, work_dir
        self._allowed = segmenters.allowed()

    def setup(self) -> None:
        segmenters.allow(*self._allowed)
        self._packer = Packer(self._examples, self._word_pieces)

    def process(
        self, group: tuple[ShardKey, Iterable[Document | None]], plan: ShardPlan
    ) -> Iterator[tuple[str, ShardEntry]]:
        (split, number), documents = group
        documents = (document for document in documents if document is not None)
        content, entry = preparation.make_shard(documents, split, self._packer)
        name = preparation.shard_name(split, number, plan)
        _write(f"{self._work_dir}/{name}", content)
        yield split, {"name": name} | entry


def _list_files(corpus: CorpusConfig) -> list[SourceFile]:
    files: list[SourceFile] = []
    for path in corpus.paths or ("",):
        if "://" not in path:
            files += list_files(replace(corpus, paths=(path,) if path else ()))
            continue
        pattern = f"{path}**" if path.endswith("/") else path
        names = sorted(entry.path for entry in FileSystems.match([pattern])[0].metadata_list)
        if not names:
            raise ValueError(f"{path}: no such file; expected text, and a slash at the end of a directory")
        for name in names:
            check_name(name, corpus)
            files.append(SourceFile(name, name))
    return list({file.path: file for file in files}.values())


def _open(path: str) -> Any:
    # The reader decompresses, and also decides by the name.
    return FileSystems.open(path, compression_type="uncompressed")


def _to_document(keyed: tuple[bytes, tuple[int, int, str, str, bytes]]) -> Document:
    _, (_, _, text, where, digest) = keyed
    return Document(text, where, digest)


def _assign_shard(document: Document, plan: ShardPlan) -> tuple[ShardKey, Document]:
    return plan.shard_of(document), document


def _empty_shards(plan: ShardPlan) -> Iterator[tuple[ShardKey, None]]:
    yield from (((split, number), None) for split, count in plan.num_shards.items() for number in range(count))


def _add_counts(counters: Iterable[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counts in counters:
        total.update(counts)
    return total


def _write_index(
    entries: list[tuple[str, ShardEntry]],
    survey: Survey,
    counts: Counter[str],
    settings: tuple[CorpusConfig, ExamplesConfig, WordPieces],
    work_dir: str,
) -> None:
    complete = Counter(counts)
    complete["duplicates"] = counts["documents"] - survey.num_documents
    complete["characters"] = survey.num_characters
    shards: dict[str, list[ShardEntry]] = {"train": [], "held_out": []}
    for split, entry in entries:
        shards[split].append(entry)
    index = preparation.make_index(preparation.index_settings(*settings, survey), complete, shards)
    _write(f"{work_dir}/{INDEX}", (json.dumps(index, indent=2, ensure_ascii=False) + "\n").encode())


def _write(path: str, content: bytes) -> None:
    with FileSystems.create(path, compression_type="uncompressed") as stream:
        stream.write(content)
