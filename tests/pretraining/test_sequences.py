"""Loading of prepared shards: all sequences of a split, without damaged shards, and only with the same encoder."""

import shutil

import numpy as np
import pytest
from support import corpora

from tfbert.pretraining.config import CorpusConfig, ExamplesConfig
from tfbert.pretraining.preparation import prepare
from tfbert.pretraining.sequences import (
    PackedSequences,
    check_vocabulary,
    describe_sequences,
    load_sequences,
    read_index,
)
from tfbert.pretraining.wordpieces import WordPieces

PIECES = corpora.word_pieces()
EXAMPLES = ExamplesConfig(sequence_length=48, num_shards=4)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return the directory of a prepared corpus and its index."""
    folder = tmp_path_factory.mktemp("sequences")
    corpus = CorpusConfig(paths=(str(corpora.write_corpus(folder / "corpus", 120)),), held_out_fraction=0.2)
    return folder / "out", prepare(corpus, EXAMPLES, PIECES, folder / "out", num_processes=1)


def test_the_index_is_read(prepared):
    out_dir, index = prepared
    assert read_index(out_dir) == index


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_sequences_are_loaded(prepared, split):
    out_dir, index = prepared
    sequences, totals = load_sequences(out_dir, split), index["splits"][split]
    assert (len(sequences), sequences.token_ids.size) == (totals["num_rows"], totals["num_tokens"])
    assert sequences.lost == ()
    assert sequences.starts[0] == 0 and sequences.starts[-1] == sequences.token_ids.size
    lengths = np.diff(sequences.starts)
    assert lengths.min() > 2 and lengths.max() == 48
    assert np.all(sequences.token_ids[sequences.starts[:-1]] == PIECES.start)
    assert np.all(sequences.token_ids[sequences.starts[1:] - 1] == PIECES.end)
    second_positions = sequences.starts[:-1] + sequences.second_starts
    has_pair = sequences.pair_labels >= 0
    assert has_pair.any() and np.all(sequences.token_ids[second_positions[has_pair] - 1] == PIECES.end)
    assert np.all(sequences.second_starts[~has_pair] == lengths[~has_pair])
    dtypes = [getattr(sequences, name).dtype for name in ("continues", "starts", "second_starts", "pair_labels")]
    assert dtypes == [np.bool_, np.int64, np.int32, np.int8] and sequences.token_ids.dtype == PIECES.dtype


def test_a_damaged_shard_is_left_out(prepared, tmp_path, caplog):
    out_dir = shutil.copytree(prepared[0], tmp_path / "out")
    entries = prepared[1]["splits"]["train"]["shards"]
    truncated, changed = out_dir / entries[1]["name"], out_dir / entries[3]["name"]
    content = truncated.read_bytes()
    truncated.write_bytes(content[:-9])
    changed.write_bytes(changed.read_bytes()[:-1] + b"!")
    sequences, undamaged = load_sequences(out_dir), load_sequences(prepared[0])
    assert sequences.lost == (truncated.name, changed.name)
    sizes = f"{len(content) - 9:,} bytes of {len(content):,}"
    assert caplog.messages == [
        f"{truncated.name}: damaged ({sizes}); its {entries[1]['num_rows']} sequences are left out",
        f"{changed.name}: damaged (changed); its {entries[3]['num_rows']} sequences are left out",
    ]
    assert len(sequences) == entries[0]["num_rows"] + entries[2]["num_rows"]
    first, second, third = (entry["num_tokens"] for entry in entries[:3])
    expected = np.concatenate(
        [undamaged.token_ids[:first], undamaged.token_ids[first + second : first + second + third]]
    )
    assert np.array_equal(sequences.token_ids, expected)
    assert sequences.starts[-1] == expected.size and len(sequences.starts) == len(sequences) + 1
    lengths = np.diff(undamaged.starts)
    remaining = np.r_[0 : entries[0]["num_rows"], len(sequences) - entries[2]["num_rows"] : len(sequences)]
    remaining[entries[0]["num_rows"] :] += entries[1]["num_rows"]
    assert np.array_equal(np.diff(sequences.starts), lengths[remaining])
    for name in ("second_starts", "pair_labels"):
        assert np.array_equal(getattr(sequences, name), getattr(undamaged, name)[remaining]), name
    truncated.unlink()
    assert load_sequences(out_dir).lost == (truncated.name, changed.name)


def test_a_split_without_a_readable_shard_is_an_error(prepared, tmp_path):
    out_dir = shutil.copytree(prepared[0], tmp_path / "out")
    for path in out_dir.glob("train-*"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="all 4 shards of train are damaged; prepare the corpus again"):
        load_sequences(out_dir)
    assert len(load_sequences(out_dir, "held_out")) > 0


def test_another_vocabulary_is_refused(prepared):
    out_dir, index = prepared
    check_vocabulary(index, PIECES, out_dir)
    other = WordPieces([*PIECES.vocabulary, "zzz"], **PIECES.rules._asdict())
    with pytest.raises(ValueError) as caught:
        check_vocabulary(index, other, out_dir)
    size = len(PIECES.vocabulary)
    assert f"prepared with a vocabulary of {size} tokens ({PIECES.sha256[:8]}); the encoder's has {size + 1}" in str(
        caught.value
    )
    cased = WordPieces(PIECES.vocabulary, **PIECES.rules._asdict() | {"lowercase": False})
    with pytest.raises(ValueError, match="prepared with lowercase=True; the encoder needs False"):
        check_vocabulary(index, cased, out_dir)


def test_a_directory_without_prepared_sequences_is_refused(tmp_path):
    expected = r"no index.json; expected a directory that `tfbert pretrain prepare` has finished"
    with pytest.raises(ValueError, match=expected):
        load_sequences(tmp_path)
    (tmp_path / "index.json").write_text('{"format": 7}')
    with pytest.raises(ValueError, match="format is 7; expected 1: prepare the corpus again"):
        load_sequences(tmp_path)


def test_sequences_in_readable_form():
    tokens = ["[CLS]", "good", "way", "##x", "[SEP]", "bad", "a", "b", "[SEP]", "[CLS]", "the", "[SEP]"]
    ids = np.array([PIECES.vocabulary.index(token) for token in tokens], np.uint16)
    continues = np.array([token in ("##x", "b") for token in tokens])
    sequences = PackedSequences(ids, continues, np.array([0, 9, 12]), np.array([5, 3]), np.array([1, -1]))

    def unmasked(index):
        return ids[sequences.starts[index] : sequences.starts[index + 1]]

    def masked(index):
        masked_ids = unmasked(index).copy()
        masked_ids[1], masked_ids[3] = PIECES.vocabulary.index("[MASK]"), PIECES.vocabulary.index("##y")
        return masked_ids

    assert describe_sequences(sequences, PIECES.vocabulary, 5, unmasked) == [
        "row 1, 9 tokens, not in order: [CLS] good wayx [SEP] bad ab [SEP]",
        "row 2, 3 tokens, one segment: [CLS] the [SEP]",
    ]
    expected = "row 1, 9 tokens, not in order: [CLS] [MASK]{good} way{x>y} [SEP] bad ab [SEP]"
    assert describe_sequences(sequences, PIECES.vocabulary, 1, masked) == [expected]
