"""The paired bootstrap: systems that differ, equal systems, pairing of records and trainings, several comparisons."""

import math

import numpy as np
import pytest

from tfbert.evaluation.comparison import holm, paired_bootstrap, resample, smallest_p_value


def accuracies(trainings):
    """Return the score functions of trainings, given by whether they are right on each record."""
    return [lambda records, hits=hits: float(hits[records].mean()) for hits in trainings]


def compare(ours, theirs, num_records):
    return paired_bootstrap(accuracies(ours), accuracies(theirs), num_records)


def hits(rate, seed, count=400):
    return (np.random.default_rng(seed).random(count) < rate).astype(float)


def test_a_clear_gain_is_detected():
    ours, theirs = [hits(0.9, seed) for seed in range(3)], [hits(0.7, 10 + seed) for seed in range(3)]
    result = compare(ours, theirs, 400)
    expected = np.mean(ours) - np.mean(theirs)
    assert result.difference == pytest.approx(expected)
    assert 0 < result.low < expected < result.high and result.better_fraction == 1.0 and result.p_value == 2 / 1001


def test_swapping_the_systems_mirrors_the_result():
    ours, theirs = [hits(0.8, 1)], [hits(0.75, 2)]
    forward, backward = compare(ours, theirs, 400), compare(theirs, ours, 400)
    assert forward.difference == -backward.difference
    assert (forward.low, forward.high) == pytest.approx((-backward.high, -backward.low))
    assert forward.better_fraction + backward.better_fraction == pytest.approx(1)


def test_equal_systems_have_no_difference():
    same = [hits(0.8, 1)]
    result = compare(same, same, 400)
    assert (result.difference, result.low, result.high) == (0.0, 0.0, 0.0)
    assert (result.better_fraction, result.p_value) == (0.5, 1.0)


def test_records_are_paired():
    # Our system is right on the same records as the other one, and on 12 more. Without pairing, the interval would
    # contain zero.
    theirs = hits(0.5, 3)
    ours = theirs.copy()
    ours[np.flatnonzero(theirs == 0)[:12]] = 1
    assert compare([ours], [theirs], 400).low > 0


def test_trainings_are_drawn_too():
    # One training is better and one is worse by the same amount: the means are equal, but the difference is uncertain.
    ours = [np.ones(50), np.zeros(50)]
    theirs = [np.zeros(50), np.ones(50)]
    result = compare(ours, theirs, 50)
    assert (result.difference, result.low, result.high) == (0.0, -1.0, 1.0)


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1], [1, 2])])
def test_unequal_numbers_of_trainings_are_rejected(ours, theirs):
    with pytest.raises(
        ValueError, match=rf"^{len(ours)} and {len(theirs)} trainings; expected the same number, one or more"
    ):
        paired_bootstrap(ours, theirs, 10)


def test_the_p_value_is_that_of_a_paired_test():
    # Ours is better on 30 records and worse on 15: the exact p-value of the sign test is 3.6 %.
    ours, theirs = np.zeros(500), np.zeros(500)
    ours[:30], theirs[30:45] = 1, 1
    exact = 2 * sum(math.comb(45, k) for k in range(16)) / 2**45
    assert compare([ours], [theirs], 500).p_value == pytest.approx(exact, abs=0.015)


def test_all_pairs_of_several_systems_have_the_same_resamples():
    systems = [accuracies([hits(rate, seed)]) for seed, rate in enumerate((0.9, 0.8, 0.7))]
    together = resample(systems, 400)
    assert together.difference(0, 2) == paired_bootstrap(systems[0], systems[2], 400)
    first = together.interval(0, is_fraction=True)
    assert first["low"] < first["value"] < first["high"] and first["value"] == pytest.approx(hits(0.9, 0).mean())
    perfect = resample([accuracies([np.ones(100)])], 100)
    assert perfect.interval(0, is_fraction=True)["low"] == pytest.approx(0.9638, abs=1e-4)
    assert perfect.interval(0, is_fraction=False)["low"] == 1.0


def test_holm_corrects_for_the_number_of_comparisons():
    assert holm([0.04]) == [0.04]
    # By hand: 3 x 0.01, 2 x 0.02, 1 x 0.03, but never below the one before it.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_few_differing_records_cannot_show_a_difference():
    assert smallest_p_value(0) == 1.0
    assert smallest_p_value(5) > 0.05 > smallest_p_value(6)
