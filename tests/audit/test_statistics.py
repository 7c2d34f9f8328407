"""Statistics of an audit, compared with known values and with simulations."""

import numpy as np
import pytest
from scipy import stats

from tfbert.audit.statistics import Estimate, area_under_curve, cluster_mean, proportion


def test_the_interval_of_a_proportion_is_that_of_clopper_and_pearson():
    estimate = proportion(2, 10)
    assert estimate.value == 0.2
    assert (estimate.low, estimate.high) == pytest.approx((0.02521, 0.55610), abs=1e-5)
    assert proportion(0, 10).low == 0 and not proportion(0, 10).excludes_zero and proportion(9, 10).excludes_zero


def test_without_clusters_the_interval_of_a_mean_is_that_of_student():
    values = np.random.default_rng(0).normal(1, 2, 20)
    estimate = cluster_mean(values, np.arange(20))
    expected = stats.t.interval(0.95, 19, values.mean(), stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx(expected)
    # Fewer than five clusters are not used.
    assert cluster_mean(values, np.arange(20) % 4) == estimate
    wider = cluster_mean(values, np.arange(20), num_comparisons=10)
    assert wider.value == estimate.value and wider.low < estimate.low and wider.high > estimate.high


def test_the_interval_contains_the_mean_of_other_clusters():
    rng, num_covered = np.random.default_rng(1), 0
    clusters = np.repeat(np.arange(12), 20)
    for _ in range(400):
        values = rng.normal(0, 1, 12)[clusters] + rng.normal(0, 0.1, 240)
        num_covered += not cluster_mean(values, clusters).excludes_zero
    assert 0.92 < num_covered / 400 < 0.98


def test_area_under_a_curve():
    positive, scores = np.array([True, True, False, False]), np.array([0.9, 0.4, 0.5, 0.1])
    assert area_under_curve(positive, scores).value == 0.75
    estimate = area_under_curve(np.repeat(positive, 50), np.repeat(scores, 50))
    assert 0.65 < estimate.low < 0.75 < estimate.high < 0.85
    assert np.isnan(area_under_curve(np.ones(3, bool), np.arange(3.0)).value)


@pytest.mark.parametrize(("low", "high", "excludes"), [(0.1, 0.2, True), (-0.2, -0.1, True), (-0.1, 0.1, False)])
def test_whether_an_interval_excludes_zero(low, high, excludes):
    assert Estimate((low + high) / 2, low, high).excludes_zero is excludes
