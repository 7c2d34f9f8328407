"""The paired bootstrap: what it says of ways that differ, that do not, and of which one cannot tell."""

import numpy as np
import pytest

from tfbert.evaluation.comparison import paired_bootstrap


def share(hits, records):
    return float(hits[records].mean())


def hits(rate, seed, count=400):
    return (np.random.default_rng(seed).random(count) < rate).astype(float)


def test_a_clear_gain_is_seen():
    ours, theirs = [hits(0.9, seed) for seed in range(3)], [hits(0.7, 10 + seed) for seed in range(3)]
    found = paired_bootstrap(share, ours, theirs, 400)
    expected = np.mean(ours) - np.mean(theirs)
    assert found["difference"] == pytest.approx(expected)
    assert 0 < found["low"] < expected < found["high"] and found["better_fraction"] == 1.0


def test_both_ways_round_are_mirrored():
    ours, theirs = [hits(0.8, 1)], [hits(0.75, 2)]
    there, back = paired_bootstrap(share, ours, theirs, 400), paired_bootstrap(share, theirs, ours, 400)
    assert there["difference"] == -back["difference"]
    assert (there["low"], there["high"]) == pytest.approx((-back["high"], -back["low"]))
    assert there["better_fraction"] + back["better_fraction"] == pytest.approx(1)


def test_what_is_equal_is_no_gain():
    same = [hits(0.8, 1)]
    found = paired_bootstrap(share, same, same, 400)
    assert found == {"difference": 0.0, "low": 0.0, "high": 0.0, "better_fraction": 0.5}


def test_records_are_paired():
    # Ours is right wherever theirs is, and on a few records more: unpaired, the interval would span zero.
    theirs = hits(0.5, 3)
    ours = theirs.copy()
    ours[np.flatnonzero(theirs == 0)[:12]] = 1
    assert paired_bootstrap(share, [ours], [theirs], 400)["low"] > 0


def test_trainings_are_drawn_too():
    # One training gains much and one loses as much: over all records the mean is the same, and nothing is sure.
    ours = [np.ones(50), np.zeros(50)]
    theirs = [np.zeros(50), np.ones(50)]
    found = paired_bootstrap(share, ours, theirs, 50)
    assert (found["difference"], found["low"], found["high"]) == (0.0, -1.0, 1.0)


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1], [1, 2])])
def test_unequal_numbers_of_trainings_are_refused(ours, theirs):
    with pytest.raises(ValueError, match=rf"^{len(ours)} trainings beside {len(theirs)}; wanted as many"):
        paired_bootstrap(share, ours, theirs, 10)
