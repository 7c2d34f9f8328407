"""Metrics: their direction is declared and not guessed from their names."""

import pytest

from tfbert.evaluation.metric import Metric

# Names that a guess by words such as "loss" or "error" takes for better when higher.
LOWER = ["rmse", "brier", "wer"]


@pytest.mark.parametrize("name", LOWER)
def test_a_metric_knows_its_direction_whatever_its_name(name):
    metric = Metric(name, "lower", "target", "distance")
    assert metric.sign == -1
    assert metric.meaning == "distance; lower is better"


def test_values_are_written_in_their_unit():
    accuracy = Metric("accuracy", "higher", "fraction", "share")
    assert (accuracy.sign, accuracy.meaning) == (1, "share")
    assert accuracy.format(0.925) == "92.5 %"
    assert Metric("loss", "lower", "nats", "cross-entropy").format(0.23456) == "0.235"
    assert accuracy.format(None) == accuracy.format(float("nan")) == "–"


def test_a_metric_survives_json():
    for every_epoch in (True, False):
        metric = Metric("rmse", "lower", "target", "distance", every_epoch)
        assert Metric.from_json(metric.to_json()) == metric
