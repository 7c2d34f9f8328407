"""Batches: rows whole or cut so that they stay well formed, the same for a draw, other ones for another."""

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


def test_a_batch_holds_its_rows():
    rows, indices = BATCHER.rows, np.array([7, 50, 5, 31])
    batch = BATCHER.batch(indices, 1, 32)
    assert batch.keys() == SPEC.keys()
    ids = unmasked(batch)
    for place, index in enumerate(indices):
        start, end = rows.starts[index : index + 2]
        length, second = end - start, rows.second_starts[index]
        np.testing.assert_array_equal(ids[place, :length], rows.token_ids[start:end])
        assert ids[place, length:].tolist() == [0] * (ids.shape[1] - length)
        assert batch["padding_mask"][place].tolist() == [1] * length + [0] * (ids.shape[1] - length)
        wanted = [0] * second + [1] * (length - second) + [0] * (ids.shape[1] - length)
        assert batch["segment_ids"][place].tolist() == wanted
        assert batch["pair_labels"][place] == rows.pair_labels[index]
    assert ids.shape[1] == (rows.starts[indices + 1] - rows.starts[indices]).max()
    for name, spec in SPEC.items():
        assert batch[name].dtype == spec.dtype.as_numpy_dtype


@pytest.mark.parametrize("limit", [8, 13, 20])
def test_rows_are_cut_around_where_segments_meet(limit):
    rows, indices = BATCHER.rows, np.arange(60)
    lengths = BATCHER.lengths()
    batch = BATCHER.batch(indices, 1, limit)
    ids, cut = unmasked(batch), 0
    for index in indices[lengths > limit]:
        whole = rows.token_ids[rows.starts[index] : rows.starts[index + 1]].tolist()
        second = rows.second_starts[index]
        found = ids[index, :limit].tolist()
        assert batch["padding_mask"][index].sum() == limit
        assert (found[0], found[-1]) == (2, 3)
        at = " ".join(map(str, whole))
        if second == len(whole):
            assert " ".join(map(str, found[1:-1])) in at
        else:
            # What is left of both, with the [SEP] between, stood so in the row.
            assert found.count(3) == 2
            assert " ".join(map(str, found[1:-1])) in at
            assert batch["segment_ids"][index].sum() == limit - 1 - found.index(3)
        cut += 1
    assert cut > 20


def test_a_cut_place_changes_with_the_draw():
    lone = np.flatnonzero((BATCHER.rows.pair_labels < 0) & (BATCHER.lengths() > 13))
    draws = [unmasked(BATCHER.batch(lone, draw, 8)) for draw in (1, 1, 2, 3)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert any((draws[0] != other).any() for other in draws[2:])


def test_a_word_that_lost_its_beginning_is_masked_alone():
    rows = packed.make_rows(1, pairs=False, longest=32)
    # One word of all the row: cut, the first piece left of it begins a word.
    rows = dataclasses.replace(rows, continues=np.arange(len(rows.token_ids)) > 1)
    batcher = dataclasses.replace(BATCHER, rows=rows)
    _, continues, _ = batcher._row(0, 2, 8)
    assert continues.tolist() == [False, False, True, True, True, True, True, True]


def test_the_stream_follows_the_plan():
    plan = [(np.array([4, 9]), 1, 32), (np.array([2]), 2, 32)]
    found = list(BATCHER.stream(plan))
    for batch, (indices, draw, limit) in zip(found, plan, strict=True):
        for name, value in BATCHER.batch(indices, draw, limit).items():
            np.testing.assert_array_equal(batch[name].numpy(), value)


def test_a_row_as_it_is_seen():
    seen = BATCHER.seen(11, 1)
    start, end = BATCHER.rows.starts[11:13]
    row = BATCHER.rows.token_ids[start:end]
    assert len(seen) == len(row)
    changed = (seen != row).sum()
    assert 0 < changed <= round(0.15 * len(row)) + 1
