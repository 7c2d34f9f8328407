"""Preparation of a corpus as an Apache Beam pipeline, on several machines; the shards are the same.

Workers need this package with `apache-beam`, `tokenizers` and NumPy, and no TensorFlow.
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
    FACTS,
    Document,
    SourceFile,
    Survey,
    check_name,
    describe,
    list_files,
    read_documents,
)
from tfbert.pretraining.packing import Packer
from tfbert.pretraining.preparation import Plan
from tfbert.pretraining.rows import INDEX
from tfbert.pretraining.wordpieces import WordPieces

logger = logging.getLogger(__name__)

_FACTS = "facts"
Job = tuple[str, int]


def prepare(
    corpus: CorpusConfig,
    examples: ExamplesConfig,
    word_pieces: WordPieces,
    out_dir: str,
    options: Sequence[str] = (),
) -> dict[str, Any]:
    """Write the shards of a corpus with the runner that the options name, and wait for it.

    Args:
        corpus: which text; `paths` may also be files and directories of any file system that Beam knows, such as
            `gs://bucket/folder/`, with the slash at the end of a directory.
        examples: how it becomes rows.
        word_pieces: of the encoder that will read them.
        out_dir: likewise; the index is written when all shards are there. A local one appears when all is done.
        options: Beam's own, such as `--runner=DataflowRunner`; without any, Beam's local runner does it.

    Returns:
        The index, as in `index.json`: equal to the one of `preparation.prepare`, and so are the shards.

    Raises:
        ValueError: the corpus cannot be read or is too small, the segmenter cannot be used, or `out_dir` holds
            something already.
    """
    files = _files(corpus)
    if examples.segmenter:
        segmenters.load_segmenter(examples.segmenter)
    with contextlib.ExitStack() as stack:
        place = _begin(out_dir, stack)
        with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
            _build(pipeline, files, corpus, examples, word_pieces, place)
        with FileSystems.open(f"{place}/{INDEX}") as stream:
            index = json.load(stream)
        logger.info("corpus: %s", describe(Counter({name: index["corpus"][name] for name in FACTS})))
        if "://" not in out_dir:
            preparation.move(Path(place), Path(out_dir))
    return index


def _begin(out_dir: str, stack: contextlib.ExitStack) -> str:
    """Return where to write: on a file system of Beam the directory itself, else one aside that is locked."""
    if "://" in out_dir:
        place = out_dir.rstrip("/")
        if FileSystems.exists(f"{place}/{INDEX}"):
            raise ValueError(f"{out_dir}: holds prepared rows; wanted a new directory")
        return place
    preparation.check_out(Path(out_dir))
    aside = preparation.aside_of(Path(out_dir))
    stack.enter_context(locked(aside, "preparing it"))
    preparation.clear(aside)
    return str(aside)


def _build(
    pipeline: beam.Pipeline,
    files: list[SourceFile],
    corpus: CorpusConfig,
    examples: ExamplesConfig,
    word_pieces: WordPieces,
    place: str,
) -> None:
    """Lay out the pipeline, from files to the index."""
    read = (
        pipeline
        | "Files" >> beam.Create(list(enumerate(files)))
        | "SpreadFiles" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(_Read(corpus)).with_outputs(_FACTS, main="documents")
    )
    # Of equal documents the first is kept, for blanks and line breaks may differ.
    documents = read.documents | "DropDuplicates" >> beam.CombinePerKey(min) | "Documents" >> beam.Map(_document)
    survey = documents | "Survey" >> beam.CombineGlobally(_Surveyor())
    plan = survey | "Plan" >> beam.Map(preparation.plan_shards, corpus, examples)
    placed = documents | "Place" >> beam.Map(_placed, AsSingleton(plan))
    # Shards that no document falls into are written too.
    jobs = plan | "Jobs" >> beam.FlatMap(_jobs)
    made = (
        (placed, jobs)
        | "WithEmpty" >> beam.Flatten()
        | "Shards" >> beam.GroupByKey()
        | "Write" >> beam.ParDo(_Write(examples, word_pieces, place), AsSingleton(plan))
    )
    facts = read[_FACTS] | "Facts" >> beam.CombineGlobally(_added)
    (
        made
        | "Made" >> beam.combiners.ToList()
        | "Index"
        >> beam.Map(
            _write_index,
            AsSingleton(survey),
            AsSingleton(facts),
            settings=(corpus, examples, word_pieces),
            place=place,
        )
    )


class _Read(beam.DoFn):
    """A numbered file in; documents by hash, with file and number by which the first of equals is told, out."""

    def __init__(self, corpus: CorpusConfig):
        self._corpus = corpus

    def process(self, numbered: tuple[int, SourceFile]) -> Iterator:
        file_number, file = numbered
        facts: Counter[str] = Counter()
        documents = read_documents(file, self._corpus, facts, _open)
        for number, document in enumerate(documents):
            yield document.digest[:16], (file_number, number, document.text, document.where, document.digest)
        yield TaggedOutput(_FACTS, dict(facts))


class _Surveyor(beam.CombineFn):
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
    """The documents of a shard in, its file written, what the index says of it out."""

    def __init__(self, examples: ExamplesConfig, word_pieces: WordPieces, place: str):
        self._examples, self._word_pieces, self._place = examples, word_pieces, place
        self._allowed = segmenters.allowed()

    def setup(self) -> None:
        segmenters.allow(*self._allowed)
        self._packer = Packer(self._examples, self._word_pieces)

    def process(self, group: tuple[Job, Iterable[Document | None]], plan: Plan) -> Iterator[tuple[str, dict]]:
        (split, number), documents = group
        found = (document for document in documents if document is not None)
        content, said = preparation.make_shard(found, split, self._packer)
        name = preparation.shard_name(split, number, plan)
        _write(f"{self._place}/{name}", content)
        yield split, {"name": name} | said


def _files(corpus: CorpusConfig) -> list[SourceFile]:
    found: list[SourceFile] = []
    for path in corpus.paths or ("",):
        if "://" not in path:
            found += list_files(replace(corpus, paths=(path,) if path else ()))
            continue
        pattern = f"{path}**" if path.endswith("/") else path
        matched = sorted(entry.path for entry in FileSystems.match([pattern])[0].metadata_list)
        if not matched:
            raise ValueError(f"{path}: no such file; wanted text, and a slash at the end of a directory")
        for name in matched:
            check_name(name, corpus)
            found.append(SourceFile(name, name))
    return list({file.path: file for file in found}.values())


def _open(path: str) -> Any:
    # Unpacking is up to the reader, which goes by the name as well.
    return FileSystems.open(path, compression_type="uncompressed")


def _document(keyed: tuple[bytes, tuple[int, int, str, str, bytes]]) -> Document:
    _, (_, _, text, where, digest) = keyed
    return Document(text, where, digest)


def _placed(document: Document, plan: Plan) -> tuple[Job, Document]:
    return plan.place(document), document


def _jobs(plan: Plan) -> Iterator[tuple[Job, None]]:
    yield from (((split, number), None) for split, count in plan.num_shards.items() for number in range(count))


def _added(counts: Iterable[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total


def _write_index(
    made: list[tuple[str, dict]],
    survey: Survey,
    facts: Counter[str],
    settings: tuple[CorpusConfig, ExamplesConfig, WordPieces],
    place: str,
) -> None:
    complete = Counter(facts)
    complete["duplicates"] = facts["documents"] - survey.num_documents
    complete["characters"] = survey.num_characters
    found: dict[str, list[dict]] = {"train": [], "held_out": []}
    for split, said in made:
        found[split].append(said)
    index = preparation.finish_index(preparation.settings_of(*settings, survey), complete, found)
    _write(f"{place}/{INDEX}", (json.dumps(index, indent=2, ensure_ascii=False) + "\n").encode())


def _write(path: str, content: bytes) -> None:
    with FileSystems.create(path, compression_type="uncompressed") as stream:
        stream.write(content)
