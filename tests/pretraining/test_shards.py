"""Shard files: TFRecord that TensorFlow reads too, decoded to equal sequences; damage is detected."""

import gzip
import struct

import numpy as np
import pytest
import tensorflow as tf
from support import corpora

from tfbert.pretraining.config import ExamplesConfig
from tfbert.pretraining.packing import CONTINUES, PackedSequence, Packer
from tfbert.pretraining.shards import decode, encode, to_columns
from tfbert.pretraining.wordpieces import WordPieces

PIECES = corpora.word_pieces()


def id_of(token):
    return PIECES.vocabulary.index(token)


@pytest.fixture(scope="module")
def columns():
    return to_columns(Packer(ExamplesConfig(sequence_length=48), PIECES).pack(corpora.documents(30), 1), PIECES)


def test_columns():
    good, go, x, y = (id_of(token) for token in ("good", "go", "##x", "y"))
    cls, sep = PIECES.start, PIECES.end
    sequences = [
        PackedSequence([cls, good, x, sep, x, go + CONTINUES, sep], 4, 1),
        PackedSequence([cls, x + CONTINUES, x, y + CONTINUES, sep], 5, -1),
    ]
    columns = to_columns(sequences, PIECES)
    assert columns.token_ids.tolist() == [cls, good, x, sep, x, go, sep, cls, x, x, y, sep]
    # Neither the first token of a segment nor a special token continues a word.
    assert np.flatnonzero(columns.continues).tolist() == [2, 5, 9, 10]
    assert columns.lengths.tolist() == [7, 5]
    assert columns.second_starts.tolist() == [4, 5]
    assert columns.pair_labels.tolist() == [1, -1]


def test_decoded_sequences_are_equal(columns):
    content = encode(columns)
    decoded = decode(content, PIECES.dtype, len(columns.lengths), columns.token_ids.size)
    assert columns.continues.any() and len(columns.lengths) > 30
    for name in columns._fields:
        original, actual = getattr(columns, name), getattr(decoded, name)
        assert original.dtype == actual.dtype and np.array_equal(original, actual), name
    assert encode(decoded) == content


def test_tensorflow_reads_the_file(columns, tmp_path):
    path = tmp_path / "x.tfrecord.gz"
    path.write_bytes(encode(columns))
    records = [bytes(r.numpy()) for r in tf.data.TFRecordDataset(str(path), "GZIP", buffer_size=2**18)]
    assert len(records) == len(columns.lengths)
    start = 0
    for record, length in zip(records, columns.lengths.tolist(), strict=True):
        header = struct.unpack_from("<HHb", record)
        ids = tf.io.decode_raw(record[6 : 6 + 2 * length], tf.uint16)
        assert header[0] == length and ids.numpy().tolist() == columns.token_ids[start : start + length].tolist()
        start += length


def test_more_sequences_than_a_block(columns, monkeypatch):
    expected = gzip.decompress(encode(columns))
    monkeypatch.setattr("tfbert.pretraining.shards._BLOCK", 7)
    assert gzip.decompress(encode(columns)) == expected


def test_large_vocabularies():
    vocabulary = [*PIECES.vocabulary, *(f"word{number}" for number in range(70_000))]
    pieces = WordPieces(vocabulary, lowercase=True, strip_accents=True)
    columns = to_columns([PackedSequence([pieces.start, 70_100, pieces.end], 3, -1)], pieces)
    decoded = decode(encode(columns), pieces.dtype, 1, 3)
    assert decoded.token_ids.tolist() == [pieces.start, 70_100, pieces.end]


def test_no_sequences():
    columns = to_columns([], PIECES)
    assert decode(encode(columns), PIECES.dtype, 0, 0).token_ids.size == 0


def test_damage_is_detected(columns):
    content, counts = encode(columns), (len(columns.lengths), columns.token_ids.size)
    for damaged in (content[:-9], content[:100], b"", content[:200] + bytes(4) + content[204:]):
        with pytest.raises(ValueError):
            decode(damaged, PIECES.dtype, *counts)
    expected = f"has {counts[0]} sequences of {counts[1]} tokens; expected {counts[0] + 1} of"
    with pytest.raises(ValueError, match=expected):
        decode(content, PIECES.dtype, counts[0] + 1, counts[1])
    with pytest.raises(ValueError, match="not a token sequence at byte"):
        decode(content, PIECES.dtype, counts[0] - 1, counts[1])
    with pytest.raises(ValueError, match="not a token sequence at byte 0"):
        decode(gzip.compress(b"something else"), PIECES.dtype, *counts)
