"""Scores equal scikit-learn's on any predictions, and intervals cover the true value."""

import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from tfbert.evaluation import metrics

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=150)
SCORES = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1, "matthews": metrics.matthews}


@st.composite
def confusions(draw):
    """Draw small square counts, with empty rows and columns often enough, and at least one example."""
    num_classes = draw(st.integers(2, 5))
    count = st.one_of(st.just(0), st.integers(0, 3), st.integers(0, 400))
    cells = draw(st.lists(count, min_size=num_classes**2, max_size=num_classes**2).filter(any))
    return np.array(cells).reshape(num_classes, num_classes)


def examples_of(confusion):
    """Return targets and predictions that have this confusion matrix."""
    true, predicted = np.indices(confusion.shape).reshape(2, -1).repeat(confusion.ravel(), axis=1)
    return true, predicted


@REPEATABLE
@given(confusions())
def test_scores_equal_scikit_learns(confusion):
    targets, predicted = examples_of(confusion)
    np.testing.assert_array_equal(metrics.confusion_matrix(targets, predicted, len(confusion)), confusion)
    assert metrics.accuracy(confusion) == pytest.approx(reference.accuracy_score(targets, predicted), abs=1e-12)
    assert metrics.macro_f1(confusion) == pytest.approx(reference.f1_score(targets, predicted, average="macro"))
    with warnings.catch_warnings():
        # With a single label the coefficient is 0, and scikit-learn warns.
        warnings.simplefilter("ignore", UserWarning)
        expected = reference.matthews_corrcoef(targets, predicted)
    assert metrics.matthews(confusion) == pytest.approx(expected, abs=1e-9)


@REPEATABLE
@given(confusions())
def test_scores_of_a_label_equal_scikit_learns(confusion):
    labels = [f"label {index}" for index in range(len(confusion))]
    scores = metrics.per_label(confusion, labels)
    targets, predicted = examples_of(confusion)
    columns = reference.precision_recall_fscore_support(
        targets, predicted, labels=np.arange(len(labels)), zero_division=0
    )
    assert list(scores) == labels
    for label, precision, recall, f1, count in zip(labels, *columns, strict=True):
        assert scores[label]["precision"] == pytest.approx(precision)
        assert scores[label]["recall"] == pytest.approx(recall)
        assert scores[label]["f1"] == pytest.approx(f1)
        assert scores[label]["num_examples"] == count
    assert [values["num_predicted"] for values in scores.values()] == confusion.sum(0).tolist()


@pytest.mark.parametrize("name", SCORES)
def test_a_stack_of_confusion_matrices_is_scored_one_by_one(name):
    stack = np.random.default_rng(0).integers(0, 9, (2, 3, 4, 4))
    expected = [[SCORES[name](matrix) for matrix in row] for row in stack]
    np.testing.assert_allclose(SCORES[name](stack), expected)


def test_large_counts_do_not_overflow():
    confusion = np.array([[3_000_000_000, 1_000_000_000], [500_000_000, 2_500_000_000]])
    small = confusion // 500_000_000
    for score in SCORES.values():
        assert score(confusion) == pytest.approx(score(small))


@settings(REPEATABLE, max_examples=8)
@given(confusions())
def test_an_interval_contains_its_value(confusion):
    for score in SCORES.values():
        interval = metrics.with_interval(score, confusion)
        assert set(interval) == {"value", "low", "high"}
        assert interval["value"] == score(confusion)
        assert -1 <= interval["low"] <= interval["value"] <= interval["high"] <= 1 + 1e-12


def test_an_interval_is_the_same_every_time():
    confusion = np.array([[30, 5], [7, 41]])
    interval = metrics.with_interval(metrics.macro_f1, confusion)
    np.random.default_rng().integers(9)
    assert metrics.with_interval(metrics.macro_f1, confusion.copy()) == interval


@pytest.mark.parametrize(("right", "total"), [(830, 1000), (60, 100), (490, 500)])
def test_the_interval_of_accuracy_is_close_to_wilsons(right, total):
    interval = metrics.with_interval(metrics.accuracy, np.array([[right - 20, total - right], [0, 20]]))
    z, accuracy = 1.959964, right / total
    middle = (accuracy + z**2 / (2 * total)) / (1 + z**2 / total)
    reach = z * np.sqrt(accuracy * (1 - accuracy) / total + z**2 / (4 * total**2)) / (1 + z**2 / total)
    # The two differ by terms of order 1 / total; the percentiles of 1000 draws add some noise.
    assert interval["low"] == pytest.approx(middle - reach, abs=2 / total + 0.12 * reach)
    assert interval["high"] == pytest.approx(middle + reach, abs=2 / total + 0.12 * reach)


def test_intervals_cover_the_true_value_about_as_often_as_stated():
    rng, truth, covered = np.random.default_rng(1), 0.8, 0
    rounds = 40
    for right in rng.binomial(300, truth, rounds):
        interval = metrics.with_interval(metrics.accuracy, np.array([[right, 300 - right], [0, 0]]))
        covered += interval["low"] <= truth <= interval["high"]
    # Of 40 at 95 %, fewer than 34 occur once in a hundred thousand times.
    assert covered >= 34


def test_an_interval_shrinks_with_the_test_set():
    confusion = np.array([[8, 2], [3, 12]])
    widths = []
    for times in (1, 100):
        interval = metrics.with_interval(metrics.matthews, confusion * times)
        widths.append(interval["high"] - interval["low"])
    assert widths[0] / widths[1] == pytest.approx(10, rel=0.2)


@pytest.mark.parametrize(
    ("value", "num_records", "low", "high"),
    [(1.0, 1, 0.025, 1.0), (1.0, 100, 0.9638, 1.0), (0.0, 10, 0.0, 0.3085)],
)
def test_all_or_none_right_has_the_interval_of_clopper_and_pearson(value, num_records, low, high):
    expected = {"value": value, "low": pytest.approx(low, abs=1e-4), "high": pytest.approx(high, abs=1e-4)}
    assert metrics.resampled(lambda records: value, num_records) == expected
    confusion = np.array([[num_records, 0], [0, 0]]) if value else np.array([[0, num_records], [0, 0]])
    assert metrics.with_interval(metrics.accuracy, confusion) == expected
    plain = {"value": value, "low": value, "high": value}
    assert metrics.resampled(lambda records: value, num_records, is_fraction=False) == plain
    assert metrics.resampled(lambda records: 0.5, num_records) == {"value": 0.5, "low": 0.5, "high": 0.5}


def test_reliability_by_hand():
    top = np.array([0.55, 0.65, 0.65, 0.95, 1.0, 0.75])
    probabilities = np.stack([top, 1 - top], axis=1)
    # Right, wrong, right, right, right, wrong.
    reliability = metrics.reliability(np.array([0, 1, 0, 0, 0, 1]), probabilities, num_bins=5)
    assert [entry["num_examples"] for entry in reliability["bins"]] == [0, 0, 1, 3, 2]
    assert [entry["low"] for entry in reliability["bins"]] == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert [entry["high"] for entry in reliability["bins"]] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert [entry["accuracy"] for entry in reliability["bins"]] == pytest.approx([0, 0, 1, 1 / 3, 1])
    means = [0, 0, 0.55, (0.65 + 0.65 + 0.75) / 3, 0.975]
    assert [entry["mean_probability"] for entry in reliability["bins"]] == pytest.approx(means)
    gaps = (1 * (1 - 0.55) + 3 * (means[3] - 1 / 3) + 2 * (1 - 0.975)) / 6
    assert reliability["calibration_error"] == pytest.approx(gaps)


@pytest.mark.parametrize("right", [True, False])
def test_full_certainty_falls_into_the_last_bin(right):
    reliability = metrics.reliability(np.array([2 if right else 0]), np.array([[0.0, 0.0, 1.0]]))
    assert len(reliability["bins"]) == 10 and reliability["bins"][-1]["num_examples"] == 1
    assert reliability["calibration_error"] == (0.0 if right else 1.0)


def test_reliability_of_several_or_no_predictions_per_record():
    reliability = metrics.reliability_of(np.float32([0.95, 0.91, 0.65, 0.6]), np.array([True, False, False, True]))
    assert [row["num_examples"] for row in reliability["bins"]] == [0, 0, 0, 0, 0, 0, 2, 0, 0, 2]
    assert (
        reliability["bins"][9]["mean_probability"] == pytest.approx(0.93) and reliability["bins"][9]["accuracy"] == 0.5
    )
    assert reliability["calibration_error"] == pytest.approx((2 * 0.43 + 2 * 0.125) / 4)
    none = metrics.reliability_of(np.zeros(0, np.float32), np.zeros(0, bool))
    assert none["calibration_error"] == 0 and {row["num_examples"] for row in none["bins"]} == {0}


@pytest.mark.parametrize(("count", "total"), [(0, 10), (3, 10), (10, 10), (1, 1), (250, 1000)])
def test_intervals_of_proportions_are_those_of_scipy(count, total):
    interval = scipy.stats.binomtest(count, total).proportion_ci(method="wilson")
    expected = {"count": count, "value": count / total, "low": interval.low, "high": interval.high}
    assert metrics.proportion(count, total) == pytest.approx(expected, abs=1e-6)
