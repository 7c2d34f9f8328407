"""Shard files: packed sequences as gzipped TFRecords.

A record is one sequence, little-endian: uint16 number of tokens, uint16 start of the second segment, int8 pair label,
one zero byte; the token ids as uint16, or int32 for vocabularies above 65,536 tokens; one bit per token, highest bit
first, that is set if the token continues the word of the previous token.
"""

import functools
import itertools
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfbert.pretraining.packing import CONTINUES, PackedSequence
from tfbert.pretraining.wordpieces import WordPieces

_HEADER = struct.Struct("<HHbx")
_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
# Number of records whose checksums are computed in parallel.
_BLOCK = 4096
# Without file name, time and name of the system, so that the bytes are the same everywhere.
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


class Columns(NamedTuple):
    """The sequences of one shard as arrays with the meaning of `sequences.PackedSequences`, and their lengths."""

    token_ids: np.ndarray
    continues: np.ndarray
    lengths: np.ndarray
    second_starts: np.ndarray
    pair_labels: np.ndarray


def to_columns(sequences: Sequence[PackedSequence], word_pieces: WordPieces) -> Columns:
    """Return the sequences of a shard as arrays.

    Args:
        sequences: packed sequences in the order of the file.
        word_pieces: the tokenizer that made their tokens.
    """
    lengths = np.fromiter((len(packed.codes) for packed in sequences), np.int64, len(sequences))
    codes = np.fromiter(itertools.chain.from_iterable(packed.codes for packed in sequences), np.int32, lengths.sum())
    ids = codes % CONTINUES
    continues = (codes >= CONTINUES) | word_pieces.is_continuation[ids]
    # The rest of a word that was trimmed at the start of a segment does not continue a word.
    is_special = (ids == word_pieces.start) | (ids == word_pieces.end)
    continues[1:] &= ~is_special[:-1]
    return Columns(
        token_ids=ids.astype(word_pieces.dtype),
        continues=continues,
        lengths=lengths,
        second_starts=np.fromiter((packed.second_start for packed in sequences), np.int32, len(sequences)),
        pair_labels=np.fromiter((packed.pair_label for packed in sequences), np.int8, len(sequences)),
    )


def encode(columns: Columns) -> bytes:
    """Return the content of a shard file."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    chunks, checksum, num_bytes = [_GZIP_HEADER], 0, 0
    records = _records(columns)
    while block := list(itertools.islice(records, _BLOCK)):
        framed = _frame(block)
        chunks.append(compressor.compress(framed))
        checksum, num_bytes = zlib.crc32(framed, checksum), num_bytes + len(framed)
    return b"".join([*chunks, compressor.flush(), struct.pack("<II", checksum, num_bytes % 2**32)])


def decode(content: bytes, dtype: np.dtype, num_sequences: int, num_tokens: int) -> Columns:
    """Return the sequences in the content of a shard file.

    Args:
        content: content of the file.
        dtype: dtype of the token ids.
        num_sequences: expected number of sequences.
        num_tokens: expected total number of their tokens.

    Raises:
        ValueError: the file is damaged, or is not a shard of this size.
    """
    try:
        unpacked = zlib.decompress(content, wbits=16 + zlib.MAX_WBITS)
    except zlib.error as error:
        raise ValueError(f"cannot be decompressed: {error}") from error
    columns = Columns(
        np.empty(num_tokens, dtype),
        np.empty(num_tokens, bool),
        np.empty(num_sequences, np.int64),
        np.empty(num_sequences, np.int32),
        np.empty(num_sequences, np.int8),
    )
    position = start = index = 0
    little_endian = dtype.newbyteorder("<")
    try:
        while position < len(unpacked):
            offset = position + _LENGTH.size + _CHECKSUM.size
            (size,) = _LENGTH.unpack_from(unpacked, position)
            length, columns.second_starts[index], columns.pair_labels[index] = _HEADER.unpack_from(unpacked, offset)
            end, offset = start + length, offset + _HEADER.size
            columns.token_ids[start:end] = np.frombuffer(unpacked, little_endian, length, offset)
            flags = np.frombuffer(unpacked, np.uint8, -(-length // 8), offset + length * dtype.itemsize)
            columns.continues[start:end] = np.unpackbits(flags, count=length)
            columns.lengths[index] = length
            position += size + _LENGTH.size + 2 * _CHECKSUM.size
            start, index = end, index + 1
    except (struct.error, ValueError, IndexError) as error:
        raise ValueError(f"not a token sequence at byte {position}: {error}") from error
    if (index, start) != (num_sequences, num_tokens):
        raise ValueError(f"has {index} sequences of {start} tokens; expected {num_sequences} of {num_tokens}")
    return columns


def _records(columns: Columns) -> Iterator[bytes]:
    ids = columns.token_ids.astype(columns.token_ids.dtype.newbyteorder("<")).tobytes()
    width, start = columns.token_ids.itemsize, 0
    headers = zip(columns.lengths.tolist(), columns.second_starts.tolist(), columns.pair_labels.tolist(), strict=True)
    for length, second_start, label in headers:
        end = start + length
        flags = np.packbits(columns.continues[start:end]).tobytes()
        yield _HEADER.pack(length, second_start, label) + ids[start * width : end * width] + flags
        start = end


def _frame(records: list[bytes]) -> bytes:
    """Return records in TFRecord framing: the length and its checksum before, a checksum after the record.

    Source: tensorflow/core/lib/io/record_writer.h.
    """
    lengths = [_LENGTH.pack(len(record)) for record in records]
    frames = zip(lengths, _checksums(lengths), records, _checksums(records), strict=True)
    return b"".join(itertools.chain.from_iterable(frames))


def _checksums(records: list[bytes]) -> list[bytes]:
    """Return the masked CRC-32C of each record, computed for all records in parallel, byte by byte."""
    lengths = np.fromiter(map(len, records), np.int64, len(records))
    order = np.argsort(-lengths, kind="stable")
    table, descending = _crc_table(), lengths[order]
    columns = np.zeros((descending[0], len(records)), np.uint8)
    for column, index in enumerate(order):
        columns[: lengths[index], column] = np.frombuffer(records[index], np.uint8)
    crc = np.full(len(records), 0xFFFFFFFF, np.uint32)
    # Number of records with a byte at each position; longer records come first.
    counts = len(records) - np.searchsorted(descending[::-1], np.arange(descending[0]), side="right")
    for position, count in enumerate(counts.tolist()):
        previous = crc[:count]
        crc[:count] = table[(previous ^ columns[position, :count]) & 0xFF] ^ (previous >> np.uint32(8))
    crc ^= np.uint32(0xFFFFFFFF)
    masked = (((crc >> np.uint32(15)) | (crc << np.uint32(17))).astype(np.uint64) + 0xA282EAD8) % 2**32
    checksums = np.empty(len(records), np.uint32)
    checksums[order] = masked.astype(np.uint32)
    return [_CHECKSUM.pack(value) for value in checksums.tolist()]


@functools.cache
def _crc_table() -> np.ndarray:
    """Return the CRC-32C, polynomial 0x82F63B78 bit-reversed, of every byte."""
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, (crc >> 1) ^ np.uint32(0x82F63B78), crc >> 1).astype(np.uint32)
    return crc
