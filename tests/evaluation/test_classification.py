"""Evaluation of classification: metrics, scores of each label, and the most confident mistakes."""

import numpy as np
import pytest
from sklearn import metrics as reference

from tfbert.evaluation.classification import METRICS, LabelEvaluation

LABELS = ("fee", "loan", "refund")


def random_predictions(num_records=80):
    """Return true labels, and probabilities that favour them."""
    rng = np.random.default_rng(3)
    gold = rng.integers(0, 3, num_records)
    probabilities = rng.dirichlet([1, 1, 1], num_records) + 0.4 * np.eye(3)[gold]
    return gold, (probabilities / probabilities.sum(1, keepdims=True)).astype(np.float32)


def test_declared_metrics_equal_scikit_learn():
    gold, probabilities = random_predictions()
    predicted = probabilities.argmax(1)
    evaluation = LabelEvaluation(predicted, probabilities, gold.tolist(), LABELS)
    values, intervals = evaluation.values(), evaluation.intervals()
    assert values["accuracy"] == pytest.approx(reference.accuracy_score(gold, predicted))
    assert values["macro_f1"] == pytest.approx(reference.f1_score(gold, predicted, average="macro"))
    assert values["mcc"] == pytest.approx(reference.matthews_corrcoef(gold, predicted))
    exact = probabilities.astype(float)
    assert values["loss"] == pytest.approx(reference.log_loss(gold, exact / exact.sum(1, keepdims=True)), rel=1e-5)
    for name, interval in intervals.items():
        assert interval["low"] < interval["value"] == values[name] < interval["high"]
    declared = [metric.name for metric in METRICS]
    assert list(values) == declared and list(intervals) == declared[:-1]
    assert evaluation.scores() == {"metrics": intervals, "per_label": evaluation.per_label()}


def test_a_label_of_probability_0_has_a_finite_loss():
    evaluation = LabelEvaluation(np.array([0]), np.float32([[1.0, 0.0, 0.0]]), [1], LABELS)
    assert evaluation.values()["loss"] == pytest.approx(-np.log(1e-12), rel=1e-5)


def test_scores_of_each_label():
    gold, probabilities = random_predictions()
    predicted = probabilities.argmax(1)
    scores = LabelEvaluation(predicted, probabilities, gold, LABELS).per_label()
    precision, recall, f1, counts = reference.precision_recall_fscore_support(gold, predicted)
    for index, label in enumerate(LABELS):
        expected = [precision[index], recall[index], f1[index]]
        assert [scores[label][name] for name in ("precision", "recall", "f1")] == pytest.approx(expected)
        assert scores[label]["num_examples"] == counts[index]


def test_the_most_confident_mistakes_come_first():
    probabilities = np.float32([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.05, 0.05, 0.9]])
    evaluation = LabelEvaluation(probabilities.argmax(1), probabilities, [1, 1, 2, 0], LABELS)
    sections, mistakes = evaluation.sections(), evaluation.mistakes()
    assert sections["labels"] == list(LABELS)
    assert sections["confusion"].tolist() == [[0, 0, 1], [1, 1, 0], [0, 1, 0]]
    assert mistakes == [3, 2, 0]
    outcome = evaluation.outcome(2)
    assert (outcome.gold, outcome.predicted, outcome.confused) == ("refund", "loan", (("refund", "loan"),))
    assert (outcome.confidence, outcome.gold_probability) == pytest.approx((0.7, 0.1))
    assert sum(row["num_examples"] for row in sections["reliability"]["bins"]) == 4
