"""Vectors of records by the frozen encoder: unit vectors of whole records, and vectors of single tokens."""

import numpy as np

from tfbert.data_quality.neighbours import unit_vectors
from tfbert.encoder.backbone import Encoder
from tfbert.encoder.precision import choose_precision
from tfbert.heads.pooled import PooledHead
from tfbert.models.task_model import Embedder, embed_sequences
from tfbert.text.datasets import TokenizedSplit


def record_vectors(encoder: Encoder, split: TokenizedSplit, sequence_length: int, records: np.ndarray) -> np.ndarray:
    """Return the unit vector of each record, the mean over its sequences: float32 `(records, hidden_dim)`.

    Args:
        encoder: the encoder, which is not changed.
        split: the split that contains the records.
        sequence_length: maximum length of a sequence in tokens.
        records: indices of one or more records, each with at least one sequence.
    """
    starts, ends = split.records[records], split.records[records + 1]
    lengths = ends - starts
    sequences = np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)])
    backbone = encoder.backbone
    # Rankings do not need float32.
    with backbone.kernels_copied(choose_precision("auto").product_dtype):
        vectors = embed_sequences(Embedder(backbone, PooledHead(1, pooling="mean")), split, sequence_length, sequences)
    return unit_vectors(np.add.reduceat(vectors, np.cumsum(lengths) - lengths, axis=0))
