"""Metrics: the declared direction, formatting and JSON."""

import pytest

from tfbert.evaluation.metric import Metric

# Names without words such as "loss" or "error", from which the direction cannot be guessed.
LOWER = ["rmse", "brier", "wer"]


@pytest.mark.parametrize("name", LOWER)
def test_the_direction_is_declared_for_any_name(name):
    metric = Metric(name, "lower", "target", "distance")
    assert metric.sign == -1
    assert metric.meaning == "distance; lower is better"


def test_format_by_unit():
    accuracy = Metric("accuracy", "higher", "fraction", "hits")
    assert (accuracy.sign, accuracy.meaning) == (1, "hits")
    assert accuracy.format(0.925) == "92.5 %"
    assert Metric("loss", "lower", "nats", "cross-entropy").format(0.23456) == "0.235"
    assert accuracy.format(None) == accuracy.format(float("nan")) == "–"


def test_title_is_the_name_with_spaces_unless_declared():
    assert Metric("recall_at_5", "higher", "fraction", "hits").title == "recall at 5"
    assert Metric("macro_f1", "higher", "fraction", "mean F1", title="macro F1").title == "macro F1"


def test_json_round_trip():
    for every_epoch in (True, False):
        metric = Metric("rmse", "lower", "target", "distance", every_epoch)
        assert Metric.from_json(metric.to_json()) == metric
