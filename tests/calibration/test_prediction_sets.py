"""Prediction sets contain the true label as often as promised."""

import numpy as np
import pytest

from tfbert.calibration.prediction_sets import coverage_interval, fit_set_threshold, min_records


def drawn(rng, num_records, num_labels=6):
    """Return probabilities that are too high for the first labels, and true labels."""
    logits = rng.normal(size=(num_records, num_labels)) * 1.5
    truth = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    targets = np.array([rng.choice(num_labels, p=row) for row in truth])
    wrong = np.exp(3 * logits)
    return wrong / wrong.sum(-1, keepdims=True), targets


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_the_mean_coverage_is_the_wanted_one(coverage):
    rng, coverages = np.random.default_rng(0), []
    new, new_targets = drawn(rng, 4000)
    for _ in range(200):
        probabilities, targets = drawn(rng, 100)
        threshold = fit_set_threshold(probabilities, targets, coverage)
        coverages.append(np.mean(new[np.arange(4000), new_targets] >= threshold))
    error = np.std(coverages) / np.sqrt(200) + 0.007  # of the draws and of the new records
    assert coverage - 2 * error <= np.mean(coverages) <= coverage + 1 / 101 + 2 * error
    low, high = coverage_interval(100, coverage)
    assert np.mean([low <= value <= high for value in coverages]) >= 0.9


def test_the_threshold_covers_enough_calibration_records():
    probabilities = np.array([[p, 1 - p] for p in (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)])
    # (9 + 1) * 0.9 = 9 of 9 records, (9 + 1) * 0.5 = 5 of 9.
    assert fit_set_threshold(probabilities, np.zeros(9, int), 0.9) == pytest.approx(0.1)
    assert fit_set_threshold(probabilities, np.zeros(9, int), 0.5) == pytest.approx(0.5)


@pytest.mark.parametrize(("coverage", "expected"), [(0.9, 9), (0.95, 19), (0.99, 99), (0.5, 1)])
def test_too_few_records_give_sets_of_all_labels(coverage, expected):
    assert min_records(coverage) == expected
    probabilities = np.full((expected, 2), 0.5)
    assert fit_set_threshold(probabilities, np.zeros(expected, int), coverage) == 0.5
    assert fit_set_threshold(probabilities[1:], np.zeros(expected - 1, int), coverage) == 0.0
