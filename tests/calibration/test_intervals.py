"""Conformal intervals: coverage over many draws, and too few records."""

import math

import numpy as np

from tfbert.calibration.intervals import fit_half_width


def test_intervals_contain_new_numbers_with_the_chosen_probability():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        half_width = fit_half_width(rng.standard_t(4, size=99), 0.9)
        covered.append((np.abs(rng.standard_t(4, size=200)) <= half_width).mean())
    assert 0.893 < np.mean(covered) < 0.907


def test_too_few_records_give_an_infinite_interval():
    assert fit_half_width(np.arange(8.0), 0.9) == math.inf
    assert fit_half_width(np.arange(9.0) - 10, 0.9) == 10
