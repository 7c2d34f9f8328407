"""Evaluation of regression: scores equal to scipy's, plots, tables and mistakes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from tfbert.evaluation.metric import Outcome
from tfbert.evaluation.values import METRICS, ValueEvaluation, Values, residual_histogram, scatter

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=150)


@st.composite
def values(draw):
    """Draw true and predicted values with many ties, and weights of the records."""
    num_records = draw(st.integers(2, 30))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    true = rng.integers(0, draw(st.integers(1, 12)), num_records) / 2
    predicted = np.round(true * draw(st.sampled_from([-1, 0.5, 1])) + rng.normal(0, 1, num_records), 1)
    weights = rng.integers(0, 4, num_records)
    weights[rng.integers(0, num_records)] += 1
    scale = draw(st.sampled_from([1.0, 1e-30, 1e30]))
    return Values(true * scale, predicted * scale), weights


@REPEATABLE
@given(values())
def test_weighted_scores_equal_scipy_on_repeated_records(drawn):
    sample, weights = drawn
    true, predicted = np.repeat(sample.true, weights), np.repeat(sample.predicted, weights)
    assert sample.mae(weights) == pytest.approx(reference.mean_absolute_error(true, predicted))
    if np.ptp(true) == 0 or np.ptp(predicted) == 0:
        assert sample.pearson(weights) == sample.spearman(weights) == 0.0
        return
    assert sample.spearman(weights) == pytest.approx(stats.spearmanr(true, predicted).statistic, abs=1e-9)
    size = np.abs(true).max()
    assert sample.pearson(weights) == pytest.approx(stats.pearsonr(true / size, predicted / size).statistic, abs=1e-9)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e8 / 3])
def test_correlations_are_0_where_all_values_are_equal(constant):
    increasing = np.arange(7.0)
    for sample in (Values(np.full(7, constant), increasing), Values(increasing, np.full(7, constant))):
        for score in (sample.pearson, sample.spearman):
            assert sample.with_interval(score) == {"value": 0.0, "low": 0.0, "high": 0.0}
    single = Values(np.array([3.0]), np.array([5.0]))
    assert single.pearson(np.array([1])) == single.spearman(np.array([1])) == 0.0
    assert single.with_interval(single.mae) == {"value": 2.0, "low": 2.0, "high": 2.0}


def test_intervals_contain_the_value():
    rng = np.random.default_rng(0)
    true = rng.normal(3, 2, 200)
    sample = Values(true, true + rng.normal(0, 1, 200))
    for score in (sample.pearson, sample.spearman, sample.mae):
        interval = sample.with_interval(score)
        assert interval["low"] < interval["value"] < interval["high"]
        assert interval["value"] == score(np.ones(200, int))
    # Absolute errors are half-normal, so the standard error is sqrt((1 - 2 / pi) / 200): a quarter of the interval.
    assert interval["high"] - interval["low"] == pytest.approx(4 * np.sqrt((1 - 2 / np.pi) / 200), rel=0.25)


def test_mistakes_are_ordered_by_error_without_correct_predictions():
    values = Values(np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.0, 0.25]))
    assert values.mistakes() == [2, 0]
    assert [values.outcome(record) for record in (2, 0)] == [Outcome("3", "0.25"), Outcome("1", "1.5")]


def test_the_error_table_has_ranges_of_the_true_value():
    true = np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], 10)
    rows = Values(true, true - np.tile([0.5, -1.5], 25)).error_table()["rows"]
    assert sum(row[1] for row in rows) == 50
    assert rows[0] == ["1 to 1", 10, 1.0, 1.5, 0.5, 1.0]
    assert rows[-1][2] > 4 and rows[-1][4:] == [0.5, 1.0]
    assert len(Values(np.full(4, 2.0), np.zeros(4)).error_table()["rows"]) == 1


@pytest.mark.parametrize("num_records", [1, 3000])
def test_plots_of_one_record_and_of_many(num_records):
    rng = np.random.default_rng(0)
    for predicted in (rng.normal(size=num_records), np.zeros(num_records)):
        sample = Values(np.zeros(num_records) if num_records == 1 else rng.normal(size=num_records), predicted)
        drawing = scatter(sample)
        assert "<svg" in drawing and "<svg" in residual_histogram(sample)
        assert drawing.count("<use") <= 1600


def test_evaluation_has_the_declared_metrics_and_the_report_sections():
    rng = np.random.default_rng(0)
    gold = rng.normal(100, 20, 50)
    predicted = (gold + rng.normal(0, 5, 50)).astype(np.float32)
    evaluation = ValueEvaluation(predicted, gold, 4.0)
    values, intervals = evaluation.values(), evaluation.intervals()
    assert values["pearson"] == pytest.approx(stats.pearsonr(gold, predicted).statistic)
    assert values["spearman"] == pytest.approx(stats.spearmanr(gold, predicted).statistic)
    assert values["loss"] == pytest.approx(reference.mean_squared_error(gold, predicted) / 16)
    assert intervals["mae"]["value"] == pytest.approx(reference.mean_absolute_error(gold, predicted))
    assert intervals["pearson"] == Values(gold, predicted).with_interval(Values(gold, predicted).pearson)
    declared = [metric.name for metric in METRICS]
    assert [name for name in declared if name in intervals] == list(intervals) == ["spearman", "pearson", "mae"]
    assert {metric.name for metric in METRICS if metric.every_epoch} == values.keys()
    assert values.keys() | intervals.keys() == set(declared)
    assert evaluation.per_label() == {}
    sections = evaluation.sections()
    assert [figure["title"] for figure in sections["figures"]] == ["Predicted and true values", "Errors"]
    assert [table["title"] for table in sections["tables"]] == ["Errors by true value"]
    assert evaluation.mistakes()[0] == np.abs(predicted - gold).argmax()
