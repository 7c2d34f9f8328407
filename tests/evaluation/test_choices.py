"""Evaluation of multiple choice: accuracy, chance, positions, and the most confident mistakes."""

import numpy as np
import pytest

from tfbert.evaluation.choices import METRICS, ChoiceEvaluation

PREDICTED = np.array([0, 1, 1, 0])
PROBABILITIES = np.array([[0.7, 0.3, 0.0], [0.2, 0.5, 0.3], [0.1, 0.9, 0.0], [0.6, 0.4, 0.0]], np.float32)
GOLD = np.array([0, 2, 0, 1])
CHOICES = [("a", "b"), ("c", "d", "e"), ("f", "g"), ("h", "i")]


def evaluation():
    return ChoiceEvaluation(PREDICTED, PROBABILITIES, gold=GOLD, choices=CHOICES)


def test_metrics():
    accuracy = evaluation().intervals()["accuracy"]
    assert accuracy["value"] == 0.25
    assert accuracy["low"] == 0.0 and 0.5 <= accuracy["high"] <= 1.0
    values = evaluation().values()
    assert values["accuracy"] == 0.25
    assert values["loss"] == pytest.approx(-np.log([0.7, 0.3, 0.1, 0.4]).mean(), rel=1e-5)
    assert [metric.name for metric in METRICS] == list(values)
    assert evaluation().per_label() == {}


def test_a_correct_choice_of_probability_0_has_a_finite_loss():
    impossible = ChoiceEvaluation(np.array([0]), np.float32([[1.0, 0.0]]), gold=np.array([1]), choices=[("a", "b")])
    assert impossible.values()["loss"] == pytest.approx(-np.log(1e-12), rel=1e-5)


def test_tables():
    by_number, by_position = (table["rows"] for table in evaluation().sections()["tables"])
    assert by_number == [
        ["2", 3, "33.3 %", "50.0 %"],
        ["3", 1, "0.0 %", "33.3 %"],
        ["all", 4, "25.0 %", "45.8 %"],
    ]
    assert by_position == [[0, 2, 2, "50.0 %"], [1, 1, 2, "0.0 %"], [2, 1, 0, "0.0 %"]]


def test_the_worst_mistakes_are_the_most_confident():
    assert evaluation().mistakes() == [2, 3, 1]
    outcome = evaluation().outcome(2)
    assert (outcome.gold, outcome.predicted) == ("f", "g")
    assert (outcome.confidence, outcome.gold_probability) == pytest.approx((0.9, 0.1))


def test_reliability_is_of_the_predicted_choices():
    bins = evaluation().sections()["reliability"]["bins"]
    assert [(row["num_examples"], row["accuracy"]) for row in bins if row["num_examples"]] == [
        (1, 0.0), (1, 0.0), (1, 1.0), (1, 0.0),
    ]  # fmt: skip
