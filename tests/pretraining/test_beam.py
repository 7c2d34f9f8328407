"""The Beam pipeline writes the same bytes as the local preparation. Skipped if Apache Beam is not installed."""

import pytest
from support import corpora

from tfbert.pretraining import preparation
from tfbert.pretraining.config import CorpusConfig, ExamplesConfig
from tfbert.pretraining.sequences import load_sequences

pytest.importorskip("apache_beam")
pytestmark = pytest.mark.filterwarnings("default")  # Beam's own warnings change with its version

PIECES = corpora.word_pieces()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return CorpusConfig(paths=(str(corpora.write_corpus(tmp_path_factory.mktemp("corpus"), 80)),))


def contents(directory):
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


@pytest.mark.parametrize(
    ("pairs", "num_shards", "options"),
    [
        ("next_sentence", 3, []),
        ("none", 40, ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]),  # some are empty
    ],
)
def test_the_same_bytes_as_by_one_process(corpus, tmp_path, pairs, num_shards, options):
    from tfbert.pretraining import beam

    examples = ExamplesConfig(sequence_length=48, pairs=pairs, num_shards=num_shards, passes=2)
    expected = preparation.prepare(corpus, examples, PIECES, tmp_path / "local", num_processes=1)
    index = beam.prepare(corpus, examples, PIECES, str(tmp_path / "beam"), options)
    assert index == expected and len(index["splits"]["train"]["shards"]) == num_shards
    assert contents(tmp_path / "beam") == contents(tmp_path / "local")
    assert len(load_sequences(tmp_path / "beam")) > 100
    assert {path.name for path in tmp_path.iterdir()} == {"local", "beam"}


def test_errors_are_those_of_the_local_preparation(tmp_path):
    from tfbert.pretraining import beam

    (tmp_path / "a.txt").write_bytes(b"one\ntwo \xff\n")
    for paths, expected in [
        ((), "corpus.paths is empty"),
        ((str(tmp_path / "no.txt"),), "no.txt: no such file or directory"),
        ((str(tmp_path / "a.txt"),), "a.txt:2: byte 0xFF is not valid utf-8"),
        (("nowhere://x/",), "Unable to get filesystem from specified path"),
    ]:
        with pytest.raises(ValueError, match=expected):
            beam.prepare(CorpusConfig(paths=paths), ExamplesConfig(), PIECES, str(tmp_path / "out"))
    with pytest.raises(ValueError, match="does not hold prepared sequences"):
        beam.prepare(CorpusConfig(paths=(str(tmp_path / "a.txt"),)), ExamplesConfig(), PIECES, str(tmp_path))
