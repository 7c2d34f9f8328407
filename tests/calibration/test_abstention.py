"""Abstention: the bound on errors holds for new records, and the advice says what can be shown."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from tfbert.calibration.abstention import ERROR_PROBABILITY, fit_selection, lowest_provable_error, min_records


def drawn(rng, num_records):
    """Return confidences and whether the predictions are right: more often than the confidence says where it is low."""
    confidences = rng.random(num_records)
    return confidences, rng.random(num_records) < 0.5 + 0.5 * np.sqrt(confidences)


@pytest.mark.parametrize("max_error", [0.05, 0.2])
def test_the_bound_holds_in_nine_of_ten_draws(max_error):
    rng, num_exceeded, answered = np.random.default_rng(0), 0, []
    new, is_right = drawn(rng, 100_000)
    for _ in range(300):
        selection = fit_selection(*drawn(rng, 1000), max_error)
        is_used = new >= selection.threshold
        num_exceeded += bool(is_used.any() and np.mean(~is_right[is_used]) > max_error)
        answered.append(selection.answered_fraction)
        assert selection.error_bound <= max_error or math.isinf(selection.threshold)
    assert num_exceeded <= ERROR_PROBABILITY * 300
    assert np.mean(answered) > (0.5 if max_error == 0.2 else 0.0)


def test_an_error_at_the_highest_confidence_does_not_prevent_a_selection():
    confidences = np.linspace(1, 0, 2000)
    is_right = np.ones(2000, bool)
    is_right[[0, 1, 2]] = False
    selection = fit_selection(confidences, is_right, 0.02)
    assert selection.answered_fraction == 1 and selection.threshold == 0


def test_no_threshold_satisfies_the_bound():
    confidences, is_right = np.linspace(1, 0, 400), np.arange(400) % 4 > 0
    selection = fit_selection(confidences, is_right, 0.1)
    assert math.isinf(selection.threshold) and selection.answered_fraction == 0 and selection.error_bound == 1
    provable = lowest_provable_error(confidences, is_right)
    assert 0.25 < provable < 0.4
    assert fit_selection(confidences, is_right, provable).answered_fraction > 0.5
    assert math.isinf(fit_selection(confidences, is_right, provable - 0.001).threshold)
    assert lowest_provable_error(np.ones(3), np.zeros(3, bool)) == 1


def test_records_of_equal_confidence_are_selected_together():
    confidences = np.repeat([0.9, 0.5], 200)
    is_right = np.repeat([True, False], 200)
    selection = fit_selection(confidences, is_right, 0.05)
    assert (selection.threshold, selection.answered_fraction) == (0.9, 0.5)
    assert fit_selection(np.full(400, 0.7), np.arange(400) < 390, 0.05).threshold == 0.7


@pytest.mark.parametrize("max_error", [0.01, 0.02, 0.1])
def test_the_number_of_records_that_can_show_a_bound(max_error):
    number = min_records(max_error)
    confidences = np.linspace(1, 0, number)
    assert fit_selection(confidences, np.ones(number, bool), max_error).answered_fraction == 1
    assert math.isinf(fit_selection(confidences[1:], np.ones(number - 1, bool), max_error).threshold)
    assert binom.pmf(0, number, max_error) <= ERROR_PROBABILITY / 5 < binom.pmf(0, number - 1, max_error)
