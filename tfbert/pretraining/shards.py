"""The file format of a shard: packed rows as gzipped TFRecords.

A record is one row, little-endian: uint16 number of tokens, uint16 start of the second segment, int8 label of the pair,
one byte of 0; the token ids as uint16, or int32 for vocabularies above 65,536; a bit for each token, the highest first,
that says whether it goes on with the word of the token before.
"""

import functools
import itertools
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfbert.pretraining.packing import CONTINUES, Row
from tfbert.pretraining.wordpieces import WordPieces

_HEADER = struct.Struct("<HHbx")
_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
# Rows whose checksums are computed side by side.
_BLOCK = 4096
# The same bytes on any system: no file name, no time, no name of the system.
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


class Columns(NamedTuple):
    """The rows of one shard side by side; see `rows.Rows`."""

    token_ids: np.ndarray
    continues: np.ndarray
    lengths: np.ndarray
    second_starts: np.ndarray
    pair_labels: np.ndarray


def columns_of(rows: Sequence[Row], word_pieces: WordPieces) -> Columns:
    """Return rows as arrays.

    Args:
        rows: of one shard.
        word_pieces: that made their tokens.
    """
    lengths = np.fromiter((len(row.codes) for row in rows), np.int64, len(rows))
    codes = np.fromiter(itertools.chain.from_iterable(row.codes for row in rows), np.int32, lengths.sum())
    ids = codes % CONTINUES
    continues = (codes >= CONTINUES) | word_pieces.is_continuation[ids]
    # What trimming left of a word begins its segment.
    is_special = (ids == word_pieces.start) | (ids == word_pieces.end)
    continues[1:] &= ~is_special[:-1]
    return Columns(
        token_ids=ids.astype(word_pieces.dtype),
        continues=continues,
        lengths=lengths,
        second_starts=np.fromiter((row.second_start for row in rows), np.int32, len(rows)),
        pair_labels=np.fromiter((row.pair_label for row in rows), np.int8, len(rows)),
    )


def encode(columns: Columns) -> bytes:
    """Return the file of a shard.

    Args:
        columns: rows, as they shall stand in it.
    """
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    parts, checksum, num_bytes = [_GZIP_HEADER], 0, 0
    records = _records(columns)
    while block := list(itertools.islice(records, _BLOCK)):
        framed = _framed(block)
        parts.append(packer.compress(framed))
        checksum, num_bytes = zlib.crc32(framed, checksum), num_bytes + len(framed)
    return b"".join([*parts, packer.flush(), struct.pack("<II", checksum, num_bytes % 2**32)])


def decode(content: bytes, dtype: np.dtype, num_rows: int, num_tokens: int) -> Columns:
    """Return the rows of a shard's file.

    Args:
        content: of the file.
        dtype: of token ids.
        num_rows: that are in it.
        num_tokens: of all its rows.

    Raises:
        ValueError: the file is damaged, or holds something else.
    """
    try:
        unpacked = zlib.decompress(content, wbits=16 + zlib.MAX_WBITS)
    except zlib.error as error:
        raise ValueError(f"cannot be decompressed: {error}") from error
    found = Columns(
        np.empty(num_tokens, dtype),
        np.empty(num_tokens, bool),
        np.empty(num_rows, np.int64),
        np.empty(num_rows, np.int32),
        np.empty(num_rows, np.int8),
    )
    position = start = row = 0
    little_endian = dtype.newbyteorder("<")
    try:
        while position < len(unpacked):
            at = position + _LENGTH.size + _CHECKSUM.size
            (size,) = _LENGTH.unpack_from(unpacked, position)
            length, found.second_starts[row], found.pair_labels[row] = _HEADER.unpack_from(unpacked, at)
            end, at = start + length, at + _HEADER.size
            found.token_ids[start:end] = np.frombuffer(unpacked, little_endian, length, at)
            flags = np.frombuffer(unpacked, np.uint8, -(-length // 8), at + length * dtype.itemsize)
            found.continues[start:end] = np.unpackbits(flags, count=length)
            found.lengths[row] = length
            position += size + _LENGTH.size + 2 * _CHECKSUM.size
            start, row = end, row + 1
    except (struct.error, ValueError, IndexError) as error:
        raise ValueError(f"not rows of tokens at byte {position}: {error}") from error
    if (row, start) != (num_rows, num_tokens):
        raise ValueError(f"holds {row} rows of {start} tokens; wanted {num_rows} of {num_tokens}")
    return found


def _records(columns: Columns) -> Iterator[bytes]:
    ids = columns.token_ids.astype(columns.token_ids.dtype.newbyteorder("<")).tobytes()
    width, start = columns.token_ids.itemsize, 0
    rows = zip(columns.lengths.tolist(), columns.second_starts.tolist(), columns.pair_labels.tolist(), strict=True)
    for length, second_start, label in rows:
        end = start + length
        flags = np.packbits(columns.continues[start:end]).tobytes()
        yield _HEADER.pack(length, second_start, label) + ids[start * width : end * width] + flags
        start = end


def _framed(records: list[bytes]) -> bytes:
    """Return records as TFRecord frames them: length and its checksum before, a checksum after.

    Source: tensorflow/core/lib/io/record_writer.h.
    """
    lengths = [_LENGTH.pack(len(record)) for record in records]
    frames = zip(lengths, _checksums(lengths), records, _checksums(records), strict=True)
    return b"".join(part for frame in frames for part in frame)


def _checksums(records: list[bytes]) -> list[bytes]:
    """Return the masked CRC-32C of each record, all of them computed side by side, byte after byte."""
    lengths = np.fromiter(map(len, records), np.int64, len(records))
    order = np.argsort(-lengths, kind="stable")
    table, descending = _table(), lengths[order]
    columns = np.zeros((descending[0], len(records)), np.uint8)
    for column, index in enumerate(order):
        columns[: lengths[index], column] = np.frombuffer(records[index], np.uint8)
    crc = np.full(len(records), 0xFFFFFFFF, np.uint32)
    # How many records have a byte at each position: those with it come first.
    alive = len(records) - np.searchsorted(descending[::-1], np.arange(descending[0]), side="right")
    for position, count in enumerate(alive.tolist()):
        part = crc[:count]
        crc[:count] = table[(part ^ columns[position, :count]) & 0xFF] ^ (part >> np.uint32(8))
    crc ^= np.uint32(0xFFFFFFFF)
    masked = (((crc >> np.uint32(15)) | (crc << np.uint32(17))).astype(np.uint64) + 0xA282EAD8) % 2**32
    found = np.empty(len(records), np.uint32)
    found[order] = masked.astype(np.uint32)
    return [_CHECKSUM.pack(value) for value in found.tolist()]


@functools.cache
def _table() -> np.ndarray:
    """Return the CRC-32C, polynomial 0x82F63B78 bit-reversed, of every byte."""
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, (crc >> 1) ^ np.uint32(0x82F63B78), crc >> 1).astype(np.uint32)
    return crc
