"""Batches of packed sequences, whole or cut so that they stay well formed, and reproducible by draw."""

import dataclasses

import numpy as np
import pytest
from support import packed

from tfbert.pretraining.batches import SPEC

BATCHER = packed.batcher(60)


def unmasked(batch):
    ids = batch["token_ids"].copy()
    for row, (positions, weights) in enumerate(zip(batch["positions"], batch["weights"], strict=True)):
        ids[row, positions[weights > 0]] = batch["targets"][row, weights > 0]
    return ids


def test_a_batch_contains_its_sequences():
    sequences, indices = BATCHER.sequences, np.array([7, 50, 5, 31])
    batch = BATCHER.batch(indices, 1, 32)
    assert batch.keys() == SPEC.keys()
    ids = unmasked(batch)
    for row, index in enumerate(indices):
        start, end = sequences.starts[index : index + 2]
        length, second = end - start, sequences.second_starts[index]
        np.testing.assert_array_equal(ids[row, :length], sequences.token_ids[start:end])
        assert ids[row, length:].tolist() == [0] * (ids.shape[1] - length)
        assert batch["padding_mask"][row].tolist() == [1] * length + [0] * (ids.shape[1] - length)
        expected = [0] * second + [1] * (length - second) + [0] * (ids.shape[1] - length)
        assert batch["segment_ids"][row].tolist() == expected
        assert batch["pair_labels"][row] == sequences.pair_labels[index]
    assert ids.shape[1] == (sequences.starts[indices + 1] - sequences.starts[indices]).max()
    for name, spec in SPEC.items():
        assert batch[name].dtype == spec.dtype.as_numpy_dtype


@pytest.mark.parametrize("limit", [8, 13, 20])
def test_long_sequences_are_cut_around_the_border_of_their_segments(limit):
    sequences, indices = BATCHER.sequences, np.arange(60)
    lengths = BATCHER.lengths()
    batch = BATCHER.batch(indices, 1, limit)
    ids, num_cut = unmasked(batch), 0
    for index in indices[lengths > limit]:
        uncut = sequences.token_ids[sequences.starts[index] : sequences.starts[index + 1]].tolist()
        cut = ids[index, :limit].tolist()
        assert batch["padding_mask"][index].sum() == limit
        assert (cut[0], cut[-1]) == (2, 3)
        # The rest, of two segments with the [SEP] between them, is contiguous in the sequence.
        assert " ".join(map(str, cut[1:-1])) in " ".join(map(str, uncut))
        if sequences.second_starts[index] < len(uncut):
            assert cut.count(3) == 2
            assert batch["segment_ids"][index].sum() == limit - 1 - cut.index(3)
        num_cut += 1
    assert num_cut > 20


def test_the_position_of_a_cut_changes_with_the_draw():
    single = np.flatnonzero((BATCHER.sequences.pair_labels < 0) & (BATCHER.lengths() > 13))
    draws = [unmasked(BATCHER.batch(single, draw, 8)) for draw in (1, 1, 2, 3)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert any((draws[0] != other).any() for other in draws[2:])


def test_the_rest_of_a_cut_word_does_not_continue_the_word_before():
    sequences = packed.make_sequences(1, pairs=False, longest=32)
    # The sequence is a single word.
    sequences = dataclasses.replace(sequences, continues=np.arange(len(sequences.token_ids)) > 1)
    masked = []

    class Recorder:
        """A masker that cuts after two tokens and records which tokens continue a word."""

        special = BATCHER.masker.special

        def offsets(self, indices, draw, num_excess):
            return [2]

        def __call__(self, token_ids, continues, indices, draw):
            masked.append(continues.tolist())
            return {}

    dataclasses.replace(BATCHER, sequences=sequences, masker=Recorder()).batch(np.array([0]), 1, 8)
    assert masked == [[[False, False, True, True, True, True, True, True]]]


def test_the_stream_follows_the_plan():
    plan = [(np.array([4, 9]), 1, 32), (np.array([2]), 2, 32)]
    batches = list(BATCHER.stream(plan))
    for batch, (indices, draw, limit) in zip(batches, plan, strict=True):
        for name, value in BATCHER.batch(indices, draw, limit).items():
            np.testing.assert_array_equal(batch[name].numpy(), value)


def test_the_masked_token_ids_of_a_sequence():
    masked = BATCHER.masked_token_ids(11, 1)
    start, end = BATCHER.sequences.starts[11:13]
    token_ids = BATCHER.sequences.token_ids[start:end]
    assert len(masked) == len(token_ids)
    num_changed = (masked != token_ids).sum()
    assert 0 < num_changed <= round(0.15 * len(token_ids)) + 1
