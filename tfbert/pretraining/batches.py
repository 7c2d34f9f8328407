"""Masked batches of packed rows for a `PretrainingModel`.

All random choices depend on seed, epoch and row alone, so that resuming a training needs no stored random state.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfbert.pretraining.masking import Masker
from tfbert.pretraining.rows import Rows
from tfbert.text.batches import made_ahead
from tfbert.text.preprocessor import dense_batch, padded_length

_MATRIX = tf.TensorSpec([None, None], tf.int32)
SPEC = dict.fromkeys(("token_ids", "segment_ids", "padding_mask", "positions", "targets"), _MATRIX)
SPEC |= {"weights": tf.TensorSpec([None, None], tf.float32), "pair_labels": tf.TensorSpec([None], tf.int32)}


@dataclass(frozen=True)
class Batcher:
    """Makes batches of rows.

    Args:
        rows: packed rows of a corpus.
        masker: chooses and masks the words to predict.
    """

    rows: Rows
    masker: Masker

    def lengths(self) -> np.ndarray:
        """Return the tokens of every row: int64 `(rows,)`."""
        return np.diff(self.rows.starts)

    def batch(self, indices: np.ndarray, draw: int, limit: int) -> dict[str, np.ndarray]:
        """Return one batch with the names and dtypes of `SPEC`.

        Args:
            indices: row numbers.
            draw: number of the random masks and cuts.
            limit: maximum length in tokens; longer rows are cut.
        """
        room = np.maximum(self.lengths()[indices] - limit, 0)
        offsets = self.masker.offsets(indices, draw, room)
        parts = [self._row(index, offset, limit) for index, offset in zip(indices, offsets, strict=True)]
        batch = self._padded([ids for ids, _, _ in parts], [second for _, _, second in parts], limit)
        continues = np.zeros(batch["token_ids"].shape, bool)
        for index, (_, flags, _) in enumerate(parts):
            continues[index, : len(flags)] = flags
        batch |= self.masker(batch["token_ids"], continues, indices, draw)
        batch["pair_labels"] = self.rows.pair_labels[indices].astype(np.int32)
        return batch

    def seen(self, row: int, draw: int) -> np.ndarray:
        """Return the token ids of one whole row as the encoder sees them: int32 `(length,)`."""
        length = int(self.lengths()[row])
        return self.batch(np.array([row]), draw, length)["token_ids"][0, :length]

    def stream(self, plan: Iterable[tuple[np.ndarray, int, int]]) -> tf.data.Dataset:
        """Return the batches of a plan of `(indices, draw, limit)` in order, made ahead in another thread."""
        return made_ahead(lambda: (self.batch(*part) for part in plan), SPEC, 4)

    def _padded(self, rows: Sequence[np.ndarray], seconds: Sequence[int], limit: int) -> dict[str, np.ndarray]:
        longest = max(map(len, rows))
        ids = tf.RaggedTensor.from_row_lengths(np.concatenate(rows).astype(np.int32), [len(row) for row in rows])
        # On a GPU a multiple of 8, as far as the limit allows it.
        length = max(longest, min(padded_length(longest), limit))
        seconds = tf.constant(seconds, tf.int32)
        dense = dense_batch(ids, seconds, self.masker.special.padding, length)
        return {name: values.numpy() for name, values in dense.items()}

    def _row(self, index: int, offset: int, limit: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Return a row's token ids, which of them continue a word, and where its second segment begins."""
        start, end = self.rows.starts[index : index + 2]
        ids, continues = self.rows.token_ids[start:end], self.rows.continues[start:end]
        second, length = int(self.rows.second_starts[index]), end - start
        if length <= limit:
            return ids, continues, second
        if second == length:
            kept = np.r_[0, 1 + offset : limit - 1 + offset, length - 1]
            first = 1
        else:
            # Both segments keep the ends that meet, because the model predicts whether they belong together.
            room, sizes = limit - 3, (second - 2, length - second - 1)
            after = min(sizes[1], max(room - sizes[0], room // 2))
            before = min(sizes[0], room - after)
            kept = np.r_[0, second - 1 - before : second + after, length - 1]
            second, first = before + 2, 1
        continues = continues[kept]
        continues[first] = False  # a word that lost its beginning
        return ids[kept], continues, min(second, limit)
