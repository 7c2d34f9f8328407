"""Masking: number, kind and positions of masked tokens, which depend only on seed, draw and sequence."""

import numpy as np
import pytest
from support import packed
from support.packed import SPECIAL, VOCABULARY

MASKINGS = ["token", "whole_word", "span"]
LENGTH = 64


@pytest.fixture(scope="module")
def batch():
    """Return 400 padded sequences of words and pieces, some with an [UNK]."""
    rng = np.random.default_rng(1)
    token_ids = rng.choice(packed.WORDS, (400, LENGTH))
    continues = (rng.random((400, LENGTH)) < 0.3) & (np.arange(LENGTH) > 1)
    token_ids[continues] = rng.choice(packed.PIECES, continues.sum())
    lengths = rng.integers(5, LENGTH + 1, 400)
    for row, length in enumerate(lengths):
        for position in (0, length // 2, length - 1):
            token_ids[row, position] = SPECIAL.start if position == 0 else SPECIAL.end
            continues[row, position : position + 2] = False
        if row % 3 == 0 and length > 12:
            token_ids[row, length // 2 + 2] = SPECIAL.unknown
            continues[row, length // 2 + 2 : length // 2 + 4] = False
        token_ids[row, length:] = SPECIAL.padding
        continues[row, length:] = False
    return token_ids, continues, np.arange(400)


def chosen(masked):
    """Return which tokens are to be predicted: bool `(batch, length)`."""
    is_chosen = np.zeros(masked["token_ids"].shape, bool)
    for row, (positions, weights) in enumerate(zip(masked["positions"], masked["weights"], strict=True)):
        is_chosen[row, positions[weights > 0]] = True
    return is_chosen


def words_of(continues):
    return np.cumsum(~continues, axis=1)


@pytest.mark.parametrize("masking", MASKINGS)
@pytest.mark.parametrize("fraction", [0.02, 0.15, 0.4])
def test_exactly_the_fraction_and_never_a_special_token(batch, masking, fraction):
    token_ids, continues, indices = batch
    masked = packed.masker(masking, fraction)(token_ids, continues, indices, 1)
    is_chosen, is_maskable = chosen(masked), token_ids > 4
    expected = [max(1, round(fraction * number)) for number in is_maskable.sum(axis=1).tolist()]
    assert is_chosen.sum(axis=1).tolist() == expected
    assert masked["weights"].sum(axis=1).tolist() == expected
    assert not is_chosen[~is_maskable].any()
    # The other tokens are unchanged, and the targets are the original tokens in their order.
    np.testing.assert_array_equal(masked["token_ids"][~is_chosen], token_ids[~is_chosen])
    np.testing.assert_array_equal(masked["targets"][masked["weights"] > 0], token_ids[is_chosen])
    assert masked["positions"].shape == (400, max(1, round(fraction * (LENGTH - 2))))


def test_words_are_masked_as_a_whole(batch):
    token_ids, continues, indices = batch
    is_chosen = chosen(packed.masker("whole_word")(token_ids, continues, indices, 1))
    words, num_cut = words_of(continues), 0
    for row in range(len(indices)):
        sizes, counts = np.bincount(words[row]), np.bincount(words[row], is_chosen[row])
        is_cut = (counts > 0) & (counts < sizes)
        num_cut += is_cut.sum()
        if is_cut.any():
            # No other word would have fitted.
            num_rest = counts[is_cut].sum()
            maskable = (token_ids[row] > 4).nonzero()[0]
            other_sizes = [sizes[word] for word in set(words[row][maskable]) if not counts[word]]
            assert all(size > num_rest for size in other_sizes)
    assert num_cut < 40
    is_chosen = chosen(packed.masker("token")(token_ids, continues, indices, 1))
    pairs = [(np.bincount(w, c), np.bincount(w)) for w, c in zip(words, is_chosen, strict=True)]
    assert sum(((counts > 0) & (counts < sizes)).sum() for counts, sizes in pairs) > 400


def test_spans_are_runs_of_words_inside_a_segment():
    # One token per word, so that runs are spans; two segments of 100.
    token_ids = np.full((500, 203), packed.WORDS[0])
    token_ids[:, 0], token_ids[:, [101, 202]] = SPECIAL.start, SPECIAL.end
    continues = np.zeros_like(token_ids, bool)
    run_lengths = {}
    for masking in ("whole_word", "span"):
        is_chosen = chosen(packed.masker(masking)(token_ids, continues, np.arange(500), 1))
        num_runs = (np.diff(np.pad(is_chosen.astype(int), ((0, 0), (1, 0))), axis=1) == 1).sum()
        run_lengths[masking] = is_chosen.sum() / num_runs
    # Independent words at 15 % make runs of 1 / 0.85. A span has 3.8 words on average, and some touch.
    assert run_lengths["whole_word"] == pytest.approx(1 / 0.85, rel=0.03)
    assert 3.8 < run_lengths["span"] < 4.8


def test_spans_have_the_lengths_of_the_paper():
    token_ids = np.full((4000, 402), packed.WORDS[0])
    token_ids[:, 0], token_ids[:, -1] = SPECIAL.start, SPECIAL.end
    # With ten tokens, the first span is complete; later spans are often cut.
    is_chosen = chosen(packed.masker("span", 0.025)(token_ids, np.zeros_like(token_ids, bool), np.arange(4000), 1))
    lengths = []
    for row in is_chosen:
        edges = np.diff(np.pad(row.astype(int), 1))
        lengths.append((np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)).max())
    fractions = np.bincount(lengths, minlength=11) / len(lengths)
    probabilities = 0.8 ** np.arange(10)
    # The longest run has 10 tokens if the first span has, or if spans touch.
    assert fractions[11:].sum() == 0
    assert fractions[10] == pytest.approx(probabilities[9] / probabilities.sum(), abs=0.02)


@pytest.mark.parametrize("masking", MASKINGS)
def test_eighty_ten_ten(batch, masking):
    token_ids, continues, indices = batch
    replacements, targets = [], []
    for draw in range(1, 11):
        masked = packed.masker(masking)(token_ids, continues, indices, draw)
        is_chosen = chosen(masked)
        replacements.append(masked["token_ids"][is_chosen])
        targets.append(token_ids[is_chosen])
    replacements, targets = np.concatenate(replacements), np.concatenate(targets)
    assert len(replacements) > 15_000
    is_mask, is_kept = replacements == SPECIAL.mask, replacements == targets
    assert is_mask.mean() == pytest.approx(0.8, abs=0.012)
    # A few of the random tokens are the original ones by chance.
    assert is_kept.mean() == pytest.approx(0.1 + 0.1 / (len(VOCABULARY) - 5), abs=0.01)
    random = replacements[~is_mask & ~is_kept]
    assert random.min() == 5 and random.max() == len(VOCABULARY) - 1
    counts = np.bincount(random, minlength=len(VOCABULARY))[5:]
    # The counts of a uniform distribution have a variance equal to their mean.
    assert counts.min() > 0 and 0.6 < counts.var() / counts.mean() < 1.5


@pytest.mark.parametrize("masking", MASKINGS)
def test_a_mask_depends_only_on_seed_draw_and_sequence(batch, masking):
    token_ids, continues, indices = batch
    masked = packed.masker(masking)(token_ids, continues, indices, 1)
    # In another batch, of another width and order.
    subset = np.array([17, 3, 250])
    width = int((token_ids[subset] > 0).sum(axis=1).max())
    repeated = packed.masker(masking)(token_ids[subset, :width], continues[subset, :width], subset, 1)
    np.testing.assert_array_equal(repeated["token_ids"], masked["token_ids"][subset, :width])
    for other in (
        packed.masker(masking)(token_ids, continues, indices, 2),
        packed.masker(masking, seed=1)(token_ids, continues, indices, 1),
        packed.masker(masking)(token_ids, continues, indices + 1, 1),
    ):
        overlap = (chosen(other) & chosen(masked)).sum() / chosen(masked).sum()
        assert overlap < 0.3


def test_a_sequence_without_words_has_nothing_to_predict():
    token_ids = np.array([[2, 3, 0, 0], [2, 1, 1, 3], [2, packed.WORDS[3], 3, 0]])
    masked = packed.masker()(token_ids, np.zeros((3, 4), bool), np.arange(3), 1)
    assert masked["weights"].sum(axis=1).tolist() == [0, 0, 1]
    assert masked["positions"].tolist() == [[0], [0], [1]]
    np.testing.assert_array_equal(masked["token_ids"][:2], token_ids[:2])


def test_a_single_long_word_is_cut_to_the_fraction():
    token_ids = np.array([[2, packed.WORDS[0], *packed.PIECES[:9], 3]])
    continues = np.array([[False, False, *[True] * 9, False]])
    masked = packed.masker(fraction=0.3)(token_ids, continues, np.arange(1), 1)
    assert masked["weights"].sum() == 3


def test_offsets_are_uniform_from_zero_to_the_maximum():
    indices, max_offsets = np.arange(3000), np.array([0, 1, 4] * 1000)
    offsets = packed.masker().offsets(indices, 1, max_offsets)
    for size in (0, 1, 4):
        counts = np.bincount(offsets[max_offsets == size], minlength=size + 1)
        assert len(counts) == size + 1
        assert counts.min() > 0.8 * 1000 / (size + 1)
