"""The paired bootstrap: systems that differ, equal systems, and pairing of records and trainings."""

import numpy as np
import pytest

from tfbert.evaluation.comparison import paired_bootstrap


def accuracy(hits, records):
    return float(hits[records].mean())


def hits(rate, seed, count=400):
    return (np.random.default_rng(seed).random(count) < rate).astype(float)


def test_a_clear_gain_is_detected():
    ours, theirs = [hits(0.9, seed) for seed in range(3)], [hits(0.7, 10 + seed) for seed in range(3)]
    result = paired_bootstrap(accuracy, ours, theirs, 400)
    expected = np.mean(ours) - np.mean(theirs)
    assert result["difference"] == pytest.approx(expected)
    assert 0 < result["low"] < expected < result["high"] and result["better_fraction"] == 1.0


def test_swapping_the_systems_mirrors_the_result():
    ours, theirs = [hits(0.8, 1)], [hits(0.75, 2)]
    forward, backward = paired_bootstrap(accuracy, ours, theirs, 400), paired_bootstrap(accuracy, theirs, ours, 400)
    assert forward["difference"] == -backward["difference"]
    assert (forward["low"], forward["high"]) == pytest.approx((-backward["high"], -backward["low"]))
    assert forward["better_fraction"] + backward["better_fraction"] == pytest.approx(1)


def test_equal_systems_have_no_difference():
    same = [hits(0.8, 1)]
    result = paired_bootstrap(accuracy, same, same, 400)
    assert result == {"difference": 0.0, "low": 0.0, "high": 0.0, "better_fraction": 0.5}


def test_records_are_paired():
    # Our system is right on the same records as the other one, and on 12 more. Without pairing, the interval would
    # contain zero.
    theirs = hits(0.5, 3)
    ours = theirs.copy()
    ours[np.flatnonzero(theirs == 0)[:12]] = 1
    assert paired_bootstrap(accuracy, [ours], [theirs], 400)["low"] > 0


def test_trainings_are_drawn_too():
    # One training is better and one is worse by the same amount: the means are equal, but the difference is uncertain.
    ours = [np.ones(50), np.zeros(50)]
    theirs = [np.zeros(50), np.ones(50)]
    result = paired_bootstrap(accuracy, ours, theirs, 50)
    assert (result["difference"], result["low"], result["high"]) == (0.0, -1.0, 1.0)


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1], [1, 2])])
def test_unequal_numbers_of_trainings_are_rejected(ours, theirs):
    with pytest.raises(
        ValueError, match=rf"^{len(ours)} and {len(theirs)} trainings; expected the same number, one or more"
    ):
        paired_bootstrap(accuracy, ours, theirs, 10)
