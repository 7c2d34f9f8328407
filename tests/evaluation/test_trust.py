"""What is measured about trust: calibration, errors among used predictions, sets, abstention and the domain."""

import numpy as np
import pytest

from tfbert.evaluation import trust
from tfbert.evaluation.metric import Confidences


def test_a_fraction_has_the_interval_of_clopper_and_pearson():
    # R: binom.test(81, 263)$conf.int
    fraction = trust.Fraction.of(np.arange(263) < 81)
    assert (fraction.low, fraction.high) == pytest.approx((0.2527, 0.3676), abs=2e-4)
    assert trust.Fraction.of(np.zeros(0, bool)) == trust.Fraction(0.0, 0.0, 1.0, 0)
    assert trust.Fraction.of(np.ones(10, bool)).high == 1


def test_calibration_is_measured_before_and_after():
    is_right = np.arange(400) % 4 > 0
    before, after = (Confidences(np.full(400, p), is_right) for p in (0.95, 0.75))
    measured = trust.calibration(before, after, 50)
    assert measured["num_calibration"] == 50
    assert measured["before"]["calibration_error"]["value"] == pytest.approx(0.2)
    assert measured["after"]["calibration_error"]["value"] == pytest.approx(0, abs=1e-9)
    assert measured["before"]["calibration_error"]["low"] > 0.1


def test_the_most_confident_predictions_are_used_first():
    # 100 predictions, every fifth of the less confident half is wrong.
    probabilities, is_right = np.linspace(1, 0.5, 100), np.ones(100, bool)
    is_right[50::5] = False
    measured = trust.selection(Confidences(probabilities, is_right))
    used = {row["error"]: row["fraction"] for row in measured["used"]}
    assert used == {0.01: 0.5, 0.02: 0.55, 0.05: 0.65, 0.1: 1.0}
    assert measured["points"][-1] == (1.0, 0.1)
    assert [row["confidence"] for row in measured["used"]][-1] == 0.5


def test_a_handful_of_predictions_and_equal_confidences_are_not_cut():
    wrong = np.arange(100) < 20
    few = trust.selection(Confidences(np.linspace(1, 0.5, 100), wrong))
    assert few["used"][0] == {"error": 0.01, "fraction": 0.0, "confidence": None}
    equal = trust.selection(Confidences(np.full(100, 0.7), ~wrong))
    assert equal["points"] == [(1.0, 0.2)]


def test_sets_intervals_abstention_and_domain_are_counted():
    sets = trust.prediction_sets(np.array([1, 1, 2, 4]), np.array([True, True, False, True]), 0.9, (0.8, 0.97))
    assert (sets["mean_size"], sets["sizes"], sets["covered"]["value"]) == (2.0, {1: 2, 2: 1, 4: 1}, 0.75)
    intervals = trust.intervals(np.zeros(4), np.full(4, 3.0), np.array([True] * 4), 0.9, (0.8, 0.97))
    assert intervals["mean_width"] == 3 and intervals["covered"]["value"] == 1
    abstains = np.array([True, False, False, False])
    measured = trust.abstention(abstains, np.array([False, True, True, False]), 0.1)
    assert measured["used"]["value"] == 0.75 and measured["error"]["value"] == pytest.approx(1 / 3)
    assert trust.abstention(np.ones(3, bool), np.ones(3, bool), 0.1)["error"] is None
    assert trust.domain(np.array([0.01, 0.05, 0.5, 1.0]), 0.05, 99)["refused"]["value"] == 0.25
    low, high = trust.domain(np.ones(1), 0.05, 500)["expected"]
    assert 0.03 < low < 0.04 and 0.06 < high < 0.08 and trust.domain(np.ones(1), 0.05, 5)["expected"] == [0, 0]


def test_the_report_keeps_numbers_and_leaves_out_curves():
    confidences = Confidences(np.linspace(0, 1, 50), np.arange(50) % 2 == 0)
    whole = {
        "split": "test",
        "selection": trust.selection(confidences),
        "calibration": trust.calibration(confidences, confidences, 9),
    }
    kept = trust.shown(whole)
    assert kept["split"] == "test" and kept["selection"].keys() == {"used"}
    assert kept["calibration"]["after"].keys() == {"calibration_error"} and kept["calibration"]["num_calibration"] == 9
