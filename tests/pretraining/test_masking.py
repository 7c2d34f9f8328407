"""Masks: how many, of what, where never, and that they depend on seed, draw and row alone."""

import numpy as np
import pytest
from support import packed
from support.packed import SPECIAL, VOCABULARY

MASKINGS = ["token", "whole_word", "span"]
LENGTH = 64


@pytest.fixture(scope="module")
def batch():
    """Return 400 padded rows of words and pieces, some with an [UNK]."""
    rng = np.random.default_rng(1)
    token_ids = rng.choice(packed.WORDS, (400, LENGTH))
    continues = (rng.random((400, LENGTH)) < 0.3) & (np.arange(LENGTH) > 1)
    token_ids[continues] = rng.choice(packed.PIECES, continues.sum())
    lengths = rng.integers(5, LENGTH + 1, 400)
    for row, length in enumerate(lengths):
        for place in (0, length // 2, length - 1):
            token_ids[row, place] = SPECIAL.start if place == 0 else SPECIAL.end
            continues[row, place : place + 2] = False
        if row % 3 == 0 and length > 12:
            token_ids[row, length // 2 + 2] = SPECIAL.unknown
            continues[row, length // 2 + 2 : length // 2 + 4] = False
        token_ids[row, length:] = SPECIAL.padding
        continues[row, length:] = False
    return token_ids, continues, np.arange(400)


def chosen(found):
    """Return where tokens are to be guessed: bool like the batch."""
    where = np.zeros(found["token_ids"].shape, bool)
    for row, (positions, weights) in enumerate(zip(found["positions"], found["weights"], strict=True)):
        where[row, positions[weights > 0]] = True
    return where


def words_of(continues):
    return np.cumsum(~continues, axis=1)


@pytest.mark.parametrize("masking", MASKINGS)
@pytest.mark.parametrize("fraction", [0.02, 0.15, 0.4])
def test_exactly_the_share_and_never_a_special_token(batch, masking, fraction):
    token_ids, continues, rows = batch
    found = packed.masker(masking, fraction)(token_ids, continues, rows, 1)
    where, is_free = chosen(found), token_ids > 4
    wanted = [max(1, round(fraction * number)) for number in is_free.sum(axis=1).tolist()]
    assert where.sum(axis=1).tolist() == wanted
    assert found["weights"].sum(axis=1).tolist() == wanted
    assert not where[~is_free].any()
    # What is not to be guessed is as it was, and the targets are the tokens that were there, in their order.
    np.testing.assert_array_equal(found["token_ids"][~where], token_ids[~where])
    np.testing.assert_array_equal(found["targets"][found["weights"] > 0], token_ids[where])
    assert found["positions"].shape == (400, max(1, round(fraction * (LENGTH - 2))))


def test_words_are_masked_as_a_whole(batch):
    token_ids, continues, rows = batch
    where = chosen(packed.masker("whole_word")(token_ids, continues, rows, 1))
    words, cut = words_of(continues), 0
    for row in range(len(rows)):
        sizes, taken = np.bincount(words[row]), np.bincount(words[row], where[row])
        is_cut = (taken > 0) & (taken < sizes)
        cut += is_cut.sum()
        if is_cut.any():
            # Nothing else would have fitted: all words of the row are longer than the rest of its share.
            rest = taken[is_cut].sum()
            is_word = (token_ids[row] > 4).nonzero()[0]
            left = [sizes[word] for word in set(words[row][is_word]) if not taken[word]]
            assert all(size > rest for size in left)
    assert cut < 40
    where = chosen(packed.masker("token")(token_ids, continues, rows, 1))
    counts = [(np.bincount(w, m), np.bincount(w)) for w, m in zip(words, where, strict=True)]
    assert sum(((taken > 0) & (taken < sizes)).sum() for taken, sizes in counts) > 400


def test_spans_are_runs_of_words_inside_a_segment():
    # One piece a word, so that runs are spans; two segments of 100.
    token_ids = np.full((500, 203), packed.WORDS[0])
    token_ids[:, 0], token_ids[:, [101, 202]] = SPECIAL.start, SPECIAL.end
    rows = np.arange(500)
    continues = np.zeros_like(token_ids, bool)
    runs = {}
    for masking in ("whole_word", "span"):
        where = chosen(packed.masker(masking)(token_ids, continues, rows, 1))
        starts = (np.diff(np.pad(where.astype(int), ((0, 0), (1, 0))), axis=1) == 1).sum()
        runs[masking] = where.sum() / starts
    # Alone, 15 % of the words make runs of 1 / 0.85. A span has 3.8 words on average, and some touch.
    assert runs["whole_word"] == pytest.approx(1 / 0.85, rel=0.03)
    assert 3.8 < runs["span"] < 4.8


def test_spans_have_the_lengths_of_the_paper():
    token_ids = np.full((4000, 402), packed.WORDS[0])
    token_ids[:, 0], token_ids[:, -1] = SPECIAL.start, SPECIAL.end
    # Ten tokens: the first span is whole, and there is seldom room for many more, which are cut.
    where = chosen(packed.masker("span", 0.025)(token_ids, np.zeros_like(token_ids, bool), np.arange(4000), 1))
    lengths = []
    for row in where:
        edges = np.diff(np.pad(row.astype(int), 1))
        lengths.append((np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)).max())
    counts = np.bincount(lengths, minlength=11) / len(lengths)
    shares = 0.8 ** np.arange(10)
    # The longest run has 10 tokens where the first span has, or spans touch.
    assert counts[11:].sum() == 0
    assert counts[10] == pytest.approx(shares[9] / shares.sum(), abs=0.02)


@pytest.mark.parametrize("masking", MASKINGS)
def test_eighty_ten_ten(batch, masking):
    token_ids, continues, rows = batch
    shown, targets = [], []
    for draw in range(1, 11):
        found = packed.masker(masking)(token_ids, continues, rows, draw)
        where = chosen(found)
        shown.append(found["token_ids"][where])
        targets.append(token_ids[where])
    shown, targets = np.concatenate(shown), np.concatenate(targets)
    assert len(shown) > 15_000
    is_mask, is_kept = shown == SPECIAL.mask, shown == targets
    assert is_mask.mean() == pytest.approx(0.8, abs=0.012)
    # One in some hundred of the random tokens is by chance the true one.
    assert is_kept.mean() == pytest.approx(0.1 + 0.1 / (len(VOCABULARY) - 5), abs=0.01)
    random = shown[~is_mask & ~is_kept]
    assert random.min() == 5 and random.max() == len(VOCABULARY) - 1
    counts = np.bincount(random, minlength=len(VOCABULARY))[5:]
    # As throws of a die scatter: their variance is their mean.
    assert counts.min() > 0 and 0.6 < counts.var() / counts.mean() < 1.5


@pytest.mark.parametrize("masking", MASKINGS)
def test_a_mask_depends_on_seed_draw_and_row_alone(batch, masking):
    token_ids, continues, rows = batch
    found = packed.masker(masking)(token_ids, continues, rows, 1)
    # In another batch, of another width and order.
    part = np.array([17, 3, 250])
    width = int((token_ids[part] > 0).sum(axis=1).max())
    again = packed.masker(masking)(token_ids[part, :width], continues[part, :width], part, 1)
    np.testing.assert_array_equal(again["token_ids"], found["token_ids"][part, :width])
    for other in (
        packed.masker(masking)(token_ids, continues, rows, 2),
        packed.masker(masking, seed=1)(token_ids, continues, rows, 1),
        packed.masker(masking)(token_ids, continues, rows + 1, 1),
    ):
        shared = (chosen(other) & chosen(found)).sum() / chosen(found).sum()
        assert shared < 0.3


def test_a_row_without_words_has_nothing_to_guess():
    token_ids = np.array([[2, 3, 0, 0], [2, 1, 1, 3], [2, packed.WORDS[3], 3, 0]])
    found = packed.masker()(token_ids, np.zeros((3, 4), bool), np.arange(3), 1)
    assert found["weights"].sum(axis=1).tolist() == [0, 0, 1]
    assert found["positions"].tolist() == [[0], [0], [1]]
    np.testing.assert_array_equal(found["token_ids"][:2], token_ids[:2])


def test_a_single_long_word_is_cut_to_the_share():
    token_ids = np.array([[2, packed.WORDS[0], *packed.PIECES[:9], 3]])
    continues = np.array([[False, False, *[True] * 9, False]])
    found = packed.masker(fraction=0.3)(token_ids, continues, np.arange(1), 1)
    assert found["weights"].sum() == 3


def test_places_to_cut_at_cover_the_room():
    rows, room = np.arange(3000), np.array([0, 1, 4] * 1000)
    found = packed.masker().offsets(rows, 1, room)
    for size in (0, 1, 4):
        counts = np.bincount(found[room == size], minlength=size + 1)
        assert len(counts) == size + 1
        assert counts.min() > 0.8 * 1000 / (size + 1)
