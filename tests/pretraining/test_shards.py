"""A shard's bytes: TFRecord that TensorFlow reads too, the same rows back, damage seen."""

import gzip
import struct

import numpy as np
import pytest
import tensorflow as tf
from support import corpora

from tfbert.pretraining.config import ExamplesConfig
from tfbert.pretraining.packing import CONTINUES, Packer, Row
from tfbert.pretraining.shards import columns_of, decode, encode
from tfbert.pretraining.wordpieces import WordPieces

PIECES = corpora.word_pieces()


def id_of(token):
    return PIECES.vocabulary.index(token)


@pytest.fixture(scope="module")
def columns():
    rows = Packer(ExamplesConfig(sequence_length=48), PIECES).rows(corpora.documents(30), 1)
    return columns_of(rows, PIECES)


def test_columns():
    good, go, x, y = (id_of(token) for token in ("good", "go", "##x", "y"))
    cls, sep = PIECES.start, PIECES.end
    rows = [
        Row([cls, good, x, sep, x, go + CONTINUES, sep], 4, 1),
        Row([cls, x + CONTINUES, x, y + CONTINUES, sep], 5, -1),
    ]
    found = columns_of(rows, PIECES)
    assert found.token_ids.tolist() == [cls, good, x, sep, x, go, sep, cls, x, x, y, sep]
    # What begins a segment never goes on, nor do special tokens.
    assert np.flatnonzero(found.continues).tolist() == [2, 5, 9, 10]
    assert found.lengths.tolist() == [7, 5]
    assert found.second_starts.tolist() == [4, 5]
    assert found.pair_labels.tolist() == [1, -1]


def test_rows_come_back(columns):
    content = encode(columns)
    found = decode(content, PIECES.dtype, len(columns.lengths), columns.token_ids.size)
    assert columns.continues.any() and len(columns.lengths) > 30
    for name in columns._fields:
        there, back = getattr(columns, name), getattr(found, name)
        assert there.dtype == back.dtype and np.array_equal(there, back), name
    assert encode(found) == content


def test_tensorflow_reads_the_file(columns, tmp_path):
    path = tmp_path / "x.tfrecord.gz"
    path.write_bytes(encode(columns))
    records = [bytes(r.numpy()) for r in tf.data.TFRecordDataset(str(path), "GZIP", buffer_size=2**18)]
    assert len(records) == len(columns.lengths)
    start = 0
    for record, length in zip(records, columns.lengths.tolist(), strict=True):
        said = struct.unpack_from("<HHb", record)
        ids = tf.io.decode_raw(record[6 : 6 + 2 * length], tf.uint16)
        assert said[0] == length and ids.numpy().tolist() == columns.token_ids[start : start + length].tolist()
        start += length


def test_more_rows_than_a_block(columns, monkeypatch):
    whole = gzip.decompress(encode(columns))
    monkeypatch.setattr("tfbert.pretraining.shards._BLOCK", 7)
    assert gzip.decompress(encode(columns)) == whole


def test_large_vocabularies():
    vocabulary = [*PIECES.vocabulary, *(f"word{number}" for number in range(70_000))]
    pieces = WordPieces(vocabulary, lowercase=True, strip_accents=True)
    columns = columns_of([Row([pieces.start, 70_100, pieces.end], 3, -1)], pieces)
    found = decode(encode(columns), pieces.dtype, 1, 3)
    assert found.token_ids.tolist() == [pieces.start, 70_100, pieces.end]


def test_no_rows():
    columns = columns_of([], PIECES)
    assert decode(encode(columns), PIECES.dtype, 0, 0).token_ids.size == 0


def test_damage_is_seen(columns):
    content, counts = encode(columns), (len(columns.lengths), columns.token_ids.size)
    for damaged in (content[:-9], content[:100], b"", content[:200] + bytes(4) + content[204:]):
        with pytest.raises(ValueError):
            decode(damaged, PIECES.dtype, *counts)
    with pytest.raises(ValueError, match=f"holds {counts[0]} rows of {counts[1]} tokens; wanted {counts[0] + 1} of"):
        decode(content, PIECES.dtype, counts[0] + 1, counts[1])
    with pytest.raises(ValueError, match="not rows of tokens at byte"):
        decode(content, PIECES.dtype, counts[0] - 1, counts[1])
    with pytest.raises(ValueError, match="not rows of tokens at byte 0"):
        decode(gzip.compress(b"something else"), PIECES.dtype, *counts)
