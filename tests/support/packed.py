"""Packed sequences of tokens of the tiny encoder, made without a corpus, for tests of pretraining."""

import numpy as np

from tfbert.encoder.presets import tiny_vocabulary
from tfbert.pretraining.batches import Batcher
from tfbert.pretraining.config import ObjectiveConfig
from tfbert.pretraining.masking import Masker
from tfbert.pretraining.sequences import PackedSequences
from tfbert.text.tokenizer import SpecialTokens

VOCABULARY = tiny_vocabulary()
SPECIAL = SpecialTokens(padding=0, unknown=1, start=2, end=3, mask=4)
WORDS = [index for index, token in enumerate(VOCABULARY) if token.isalpha()]
PIECES = [index for index, token in enumerate(VOCABULARY) if token.startswith("##")]


def make_sequences(count, seed=0, longest=32, pairs=True):
    """Return sequences of different lengths. Words follow each other in a fixed order, which a model can learn."""
    rng = np.random.default_rng(seed)
    ids, continues, lengths, seconds, labels = [], [], [], [], []
    for index in range(count):
        has_pair = pairs and index % 5 > 0
        segments = [_segment(rng, rng.integers(4, longest // 2 - 2)) for _ in range(1 + has_pair)]
        sequence, flags = [2], [False]
        second = None
        for segment in segments:
            second = len(sequence) if len(sequence) > 1 else None
            sequence += [*segment, 3]
            flags += [*(token in PIECES for token in segment), False]
        ids += sequence
        continues += flags
        lengths.append(len(sequence))
        seconds.append(second or len(sequence))
        labels.append(int(rng.integers(2)) if has_pair else -1)
    return PackedSequences(
        token_ids=np.array(ids, np.uint16),
        continues=np.array(continues),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        second_starts=np.array(seconds, np.int32),
        pair_labels=np.array(labels, np.int8),
    )


def _segment(rng, length):
    start = rng.integers(len(WORDS))
    segment = [WORDS[(start + offset) % len(WORDS)] for offset in range(length)]
    for position in range(1, length):
        if rng.random() < 0.2:
            segment[position] = PIECES[rng.integers(len(PIECES))]
    return segment


def masker(masking="whole_word", fraction=0.15, seed=0):
    objective = ObjectiveConfig(masking=masking, mask_fraction=fraction)
    return Masker(objective, SPECIAL, len(VOCABULARY), seed)


def batcher(count, seed=0, **values):
    return Batcher(make_sequences(count, seed, **values), masker())
