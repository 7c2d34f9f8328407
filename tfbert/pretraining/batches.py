"""Masked batches of packed sequences for a `PretrainingModel`.

All random choices depend on seed, epoch and sequence alone, so that resuming a training needs no stored random state.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfbert.pretraining.masking import Masker
from tfbert.pretraining.sequences import PackedSequences
from tfbert.text.batches import prefetched
from tfbert.text.preprocessor import dense_batch, padded_length

_INT_MATRIX = tf.TensorSpec([None, None], tf.int32)
SPEC = dict.fromkeys(("token_ids", "segment_ids", "padding_mask", "positions", "targets"), _INT_MATRIX)
SPEC |= {"weights": tf.TensorSpec([None, None], tf.float32), "pair_labels": tf.TensorSpec([None], tf.int32)}


@dataclass(frozen=True)
class Batcher:
    """Makes masked batches of the packed sequences of a corpus."""

    sequences: PackedSequences
    masker: Masker

    def lengths(self) -> np.ndarray:
        """Return the number of tokens of every sequence: int64 `(sequences,)`."""
        return np.diff(self.sequences.starts)

    def batch(self, indices: np.ndarray, draw: int, limit: int) -> dict[str, np.ndarray]:
        """Return one batch with the names and dtypes of `SPEC`.

        Args:
            indices: int `(batch,)`, indices of the sequences.
            draw: index of the random masks and cuts.
            limit: maximum length in tokens; longer sequences are cut.
        """
        num_excess = np.maximum(self.lengths()[indices] - limit, 0)
        offsets = self.masker.offsets(indices, draw, num_excess)
        cut = [self._cut(index, offset, limit) for index, offset in zip(indices, offsets, strict=True)]
        batch = self._pad([ids for ids, _, _ in cut], [second_start for _, _, second_start in cut], limit)
        continues = np.zeros(batch["token_ids"].shape, bool)
        for row, (_, flags, _) in enumerate(cut):
            continues[row, : len(flags)] = flags
        batch |= self.masker(batch["token_ids"], continues, indices, draw)
        batch["pair_labels"] = self.sequences.pair_labels[indices].astype(np.int32)
        return batch

    def masked_token_ids(self, index: int, draw: int) -> np.ndarray:
        """Return the token ids of one whole sequence as the encoder sees them: int32 `(length,)`."""
        length = int(self.lengths()[index])
        return self.batch(np.array([index]), draw, length)["token_ids"][0, :length]

    def stream(self, plan: Iterable[tuple[np.ndarray, int, int]]) -> tf.data.Dataset:
        """Return the batches of a plan of `(indices, draw, limit)` in order, prefetched in another thread."""
        return prefetched(lambda: (self.batch(*planned) for planned in plan), SPEC, 4)

    def _pad(self, token_ids: Sequence[np.ndarray], second_starts: Sequence[int], limit: int) -> dict[str, np.ndarray]:
        lengths = [len(ids) for ids in token_ids]
        longest = max(lengths)
        ragged = tf.RaggedTensor.from_row_lengths(np.concatenate(token_ids).astype(np.int32), lengths)
        # On a GPU a multiple of 8, as far as the limit allows it.
        length = max(longest, min(padded_length(longest), limit))
        dense = dense_batch(ragged, tf.constant(second_starts, tf.int32), self.masker.special.padding, length)
        return {name: values.numpy() for name, values in dense.items()}

    def _cut(self, index: int, offset: int, limit: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Return a sequence's token ids, which of them continue a word, and the position of its second segment."""
        start, end = self.sequences.starts[index : index + 2]
        ids, continues = self.sequences.token_ids[start:end], self.sequences.continues[start:end]
        second_start, length = int(self.sequences.second_starts[index]), end - start
        if length <= limit:
            return ids, continues, second_start
        if second_start == length:
            kept = np.r_[0, 1 + offset : limit - 1 + offset, length - 1]
        else:
            # Both segments keep the ends that meet, because the model predicts whether they belong together.
            num_kept, sizes = limit - 3, (second_start - 2, length - second_start - 1)
            after = min(sizes[1], max(num_kept - sizes[0], num_kept // 2))
            before = min(sizes[0], num_kept - after)
            kept = np.r_[0, second_start - 1 - before : second_start + after, length - 1]
            second_start = before + 2
        continues = continues[kept]
        continues[1] = False  # a word that lost its beginning
        return ids[kept], continues, min(second_start, limit)
