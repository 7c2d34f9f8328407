"""Token ids in, packed BERT inputs out: [CLS] first [SEP] second [SEP], cut or in windows, padded to the longest row.

Everything is there twice, for rows at hand in NumPy (training) and in the graph (serving), and tests hold the two
equal. In the graph only core TensorFlow operations are used: tensorflow-text's trimmer is missing from most TensorFlow
Serving releases.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfbert.text.tokenizer import SpecialTokens

# What an encoder takes of a packed batch.
INPUTS = ("token_ids", "segment_ids", "padding_mask")


@dataclass(frozen=True)
class Windows:
    """Long token sequences cut into overlapping windows, inside the graph.

    Args:
        token_ids: ragged int32 `(windows, None)`, the windows of a record one after another.
        records: int32 `(windows,)`, which record each is of.
        starts: int32 `(windows,)`, its first token in the record.
        lengths: int32 `(records,)`, tokens of each record.
    """

    token_ids: tf.RaggedTensor
    records: tf.Tensor
    starts: tf.Tensor
    lengths: tf.Tensor

    def merge(self, values: tf.Tensor) -> tf.RaggedTensor:
        """Join what was computed for the tokens of each window to one value a token of the record.

        Where windows overlap it is their mean, weighted by how much of the record a window sees around the token: a
        token at a window's edge lacks its context there. The edges of the record itself lack nothing.

        Args:
            values: float32 `(tokens of all windows, channels)`, in the order of `token_ids.flat_values`.

        Returns:
            Ragged float32 `(records, None, channels)`.
        """
        window = tf.cast(self.token_ids.value_rowids(), tf.int32)
        in_window = tf.range(tf.shape(values)[0]) - tf.gather(tf.cast(self.token_ids.row_starts(), tf.int32), window)
        record = tf.gather(self.records, window)
        in_record = tf.gather(self.starts, window) + in_window
        size = tf.gather(tf.cast(self.token_ids.row_lengths(), tf.int32), window)
        length = tf.gather(self.lengths, record)
        unseen_left, unseen_right = in_record - in_window, length - (in_record - in_window) - size
        left = tf.where(unseen_left > 0, in_window, size)
        right = tf.where(unseen_right > 0, size - 1 - in_window, size)
        weight = tf.cast(1 + tf.minimum(left, right), tf.float32)[:, None]
        token = tf.gather(tf.cumsum(self.lengths, exclusive=True), record) + in_record
        count = tf.reduce_sum(self.lengths)
        total = tf.math.unsorted_segment_sum(values * weight, token, count)
        merged = total / tf.math.unsorted_segment_sum(weight, token, count)
        return tf.RaggedTensor.from_row_lengths(merged, self.lengths)


@dataclass(frozen=True)
class Packer:
    """How token ids become rows for the encoder.

    Args:
        special: ids of [CLS], [SEP] and [PAD].
        sequence_length: longest row in tokens, special ones included.
        window_overlap_fraction: of a window, which it shares at least with the one before.
    """

    special: SpecialTokens
    sequence_length: int
    window_overlap_fraction: float = 0.25

    def room(self, num_segments: int) -> int:
        """Return how many tokens of text a row has place for."""
        return self.sequence_length - 1 - num_segments

    def row(self, segments: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
        """Frame one or two segments, cut to `sequence_length`.

        Of two, the longer is cut until both are of one length; then the first keeps one token more if room is odd.

        Returns:
            The ids, and where the second segment begins (behind the row if there is none).
        """
        special, kept = self.special, _kept([len(s) for s in segments], self.room(len(segments)))
        parts: list = [[special.start]]
        for segment, length in zip(segments, kept, strict=True):
            parts += [segment[:length], [special.end]]
        return np.concatenate(parts).astype(np.int32), kept[0] + 2

    def window_starts(self, length: int, room: int) -> list[int]:
        """Return where the windows of a text begin: evenly spread, the last one at the text's end.

        Args:
            length: of the text in tokens.
            room: of a window in tokens, 1 or more.
        """
        if length <= room:
            return [0]
        step = room - int(self.window_overlap_fraction * room)
        last = -(-(length - room) // step)
        return [index * (length - room) // last for index in range(last + 1)]

    def pack(self, segments: Sequence[tf.RaggedTensor]) -> dict[str, tf.Tensor]:
        """Do in the graph what `row` does, for a batch.

        Args:
            segments: one or two ragged int32 `(batch, None)` without special tokens.

        Returns:
            `token_ids`, `segment_ids`, `padding_mask`: int32 `(batch, length)` with length at most `sequence_length`,
            and `truncated`: bool `(batch,)`, true where tokens were cut.
        """
        lengths = [_lengths(segment) for segment in segments]
        kept = _kept(lengths, self.room(len(segments)), tf.minimum, tf.maximum)
        column = tf.ones([segments[0].nrows(), 1], tf.int32)
        parts = [column * self.special.start]
        for segment, length in zip(segments, kept, strict=True):
            parts += [_first(segment, length), column * self.special.end]
        framed = tf.concat(parts, axis=1)
        dense = framed.to_tensor(default_value=self.special.padding)
        mask = tf.sequence_mask(framed.row_lengths(), tf.shape(dense)[1], dtype=tf.int32)
        second = tf.cast(tf.range(tf.shape(dense)[1])[None, :] >= (kept[0] + 2)[:, None], tf.int32) * mask
        cut = [length > room for length, room in zip(lengths, kept, strict=True)]
        return {
            "token_ids": dense,
            "segment_ids": second,
            "padding_mask": mask,
            "truncated": cut[0] if len(cut) == 1 else cut[0] | cut[1],
        }

    def windows(self, token_ids: tf.RaggedTensor, room: tf.Tensor) -> Windows:
        """Do in the graph what `window_starts` does, for a batch.

        Args:
            token_ids: ragged int32 `(batch, None)` without special tokens.
            room: of a window in tokens, int32 `(batch,)` or scalar, 1 or more.
        """
        lengths = _lengths(token_ids)
        room = tf.broadcast_to(room, tf.shape(lengths))
        overlap = tf.cast(tf.cast(room, tf.float64) * self.window_overlap_fraction, tf.int32)
        last = tf.maximum(0, -(-(lengths - room) // (room - overlap)))
        records = tf.repeat(tf.range(tf.shape(lengths)[0]), last + 1)
        index = tf.range(tf.shape(records)[0]) - tf.gather(tf.cumsum(last + 1, exclusive=True), records)
        rest = tf.gather(tf.maximum(0, lengths - room), records)
        starts = index * rest // tf.maximum(1, tf.gather(last, records))
        sizes = tf.gather(tf.minimum(lengths, room), records)
        begins = tf.gather(tf.cast(token_ids.row_starts(), tf.int32), records) + starts
        places = tf.ragged.range(begins, begins + sizes)
        found = places.with_flat_values(tf.gather(token_ids.flat_values, places.flat_values))
        return Windows(found, records, starts, lengths)


def pad_rows(rows: Sequence[np.ndarray], seconds: Sequence[int], padding: int, limit: int) -> dict[str, np.ndarray]:
    """Pad framed rows to a common length, on a GPU a multiple of 8 where `limit` allows it.

    Args:
        rows: integer arrays with their special tokens.
        seconds: where the second segment of each begins.
        padding: id of [PAD].
        limit: no row is longer than this, in tokens.

    Returns:
        `token_ids`, `segment_ids`, `padding_mask`: int32 `(len(rows), length)`.
    """
    longest = max(len(row) for row in rows)
    length = max(longest, min(_padded(longest), limit))
    token_ids = np.full((len(rows), length), padding, np.int32)
    segment_ids, mask = np.zeros_like(token_ids), np.zeros_like(token_ids)
    for index, (row, second) in enumerate(zip(rows, seconds, strict=True)):
        token_ids[index, : len(row)] = row
        segment_ids[index, second : len(row)] = 1
        mask[index, : len(row)] = 1
    return {"token_ids": token_ids, "segment_ids": segment_ids, "padding_mask": mask}


def in_halves(batch: Mapping[str, tf.Tensor]) -> tuple[list[dict[str, tf.Tensor]], tf.Tensor]:
    """Cut a batch into its shorter and its longer rows, each half only as wide as it needs, inside the graph.

    Args:
        batch: int32 `token_ids`, `segment_ids`, `padding_mask` `(rows, length)`; anything else is left out.

    Returns:
        The halves, and for each row of the batch its place in both of them end to end: int32 `(rows,)`.
    """
    lengths = tf.reduce_sum(batch["padding_mask"], axis=1)
    order = tf.argsort(lengths, stable=True)
    middle = tf.shape(order)[0] // 2
    halves = []
    for rows in (order[:middle], order[middle:]):
        longest = tf.maximum(1, tf.reduce_max(tf.gather(lengths, rows)))
        width = tf.minimum(tf.shape(batch["token_ids"])[1], _padded(longest))
        halves.append({name: tf.gather(batch[name], rows)[:, :width] for name in INPUTS})
    return halves, tf.argsort(order, stable=True)


def _padded(length):
    """Return the length to pad to; integer or tensor.

    The matrix units of a GPU want multiples of 8. On a processor that would be a fifth more of the work for texts of
    16 tokens.
    """
    multiple = 8 if _has_gpu() else 1
    return -(-length // multiple) * multiple


@functools.cache
def _has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def _kept(lengths: Sequence, room: int, smaller=min, larger=max) -> list:
    """Return how many tokens of each segment stay; integers or tensors."""
    if len(lengths) == 1:
        return [smaller(lengths[0], room)]
    second = smaller(lengths[1], larger(room - lengths[0], room // 2))
    return [smaller(lengths[0], room - second), second]


def _lengths(ragged: tf.RaggedTensor) -> tf.Tensor:
    return tf.cast(ragged.row_lengths(), tf.int32)


def _first(ragged: tf.RaggedTensor, count: tf.Tensor) -> tf.RaggedTensor:
    """Return the first `count` values of each row."""
    lengths = _lengths(ragged)
    position = tf.range(tf.size(ragged.flat_values)) - tf.repeat(tf.cast(ragged.row_starts(), tf.int32), lengths)
    return tf.RaggedTensor.from_row_lengths(ragged.flat_values[position < tf.repeat(count, lengths)], count)
