"""Token ids in, packed BERT inputs out: [CLS] text [SEP], padded to the longest of the batch.

Trimming uses core TensorFlow operations only: tensorflow-text's trimmer is missing from most TensorFlow Serving
releases.
"""

import numpy as np
import tensorflow as tf

from tfbert.text.tokenizer import SpecialTokens


def pack(token_ids: tf.RaggedTensor, special: SpecialTokens, sequence_length: int) -> dict[str, tf.Tensor]:
    """Frame one segment a row, cut it at `sequence_length` and pad to the longest row.

    Args:
        token_ids: ragged int32 `(batch, None)` without special tokens.
        special: ids of [CLS], [SEP] and [PAD].
        sequence_length: longest row in tokens, special ones included; 3 or more.

    Returns:
        `token_ids`, `segment_ids`, `padding_mask`: int32 `(batch, length)` with length at most `sequence_length`, and
        `truncated`: bool `(batch,)`, true where tokens were cut.
    """
    room = sequence_length - 2
    truncated = token_ids.row_lengths() > room
    kept = token_ids[:, :room]
    column = tf.ones([kept.nrows(), 1], tf.int32)
    framed = tf.concat([column * special.start, kept, column * special.end], axis=1)
    mask = tf.sequence_mask(framed.row_lengths(), dtype=tf.int32)
    dense = framed.to_tensor(default_value=special.padding)
    return {
        "token_ids": dense,
        "segment_ids": tf.zeros_like(dense),
        "padding_mask": mask,
        "truncated": truncated,
    }


def pack_rows(rows: list[np.ndarray], special: SpecialTokens, sequence_length: int, multiple: int = 8) -> dict:
    """Do what `pack` does for rows at hand in NumPy, with the length rounded up so that few shapes occur.

    Args:
        rows: integer arrays without special tokens, one an example.
        special: ids of [CLS], [SEP] and [PAD].
        sequence_length: longest row in tokens, special ones included.
        multiple: the padded length is a multiple of this, or `sequence_length`.

    Returns:
        `token_ids`, `segment_ids`, `padding_mask`: int32 `(len(rows), length)`.
    """
    room = sequence_length - 2
    longest = max(min(len(row), room) for row in rows) + 2
    length = min(-(-longest // multiple) * multiple, sequence_length)
    token_ids = np.full((len(rows), length), special.padding, np.int32)
    mask = np.zeros_like(token_ids)
    for index, row in enumerate(rows):
        kept = row[:room]
        token_ids[index, 0] = special.start
        token_ids[index, 1 : len(kept) + 1] = kept
        token_ids[index, len(kept) + 1] = special.end
        mask[index, : len(kept) + 2] = 1
    return {"token_ids": token_ids, "segment_ids": np.zeros_like(token_ids), "padding_mask": mask}
