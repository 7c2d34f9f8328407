"""Calibrated confidence: fitted to predictions, applied in the graph, with padding unchanged."""

import numpy as np
import pytest
import tensorflow as tf

from tfbert.evaluation.entities import Entity
from tfbert.tasks import base_confidence
from tfbert.tasks.base_decision import Predicted
from tfbert.tasks.entities import EntityConfidence


def test_confidence_becomes_the_frequency_of_being_right():
    rng = np.random.default_rng(0)
    log_odds = rng.normal(0, 2, size=4000)
    is_right = rng.random(4000) < 1 / (1 + np.exp(-log_odds / 3))
    decided = base_confidence.fit_confidence(1 / (1 + np.exp(-log_odds)), is_right)
    assert float(decided["confidence_slope"]) == pytest.approx(1 / 3, abs=0.05)
    served = base_confidence.calibrated(tf.constant([[0.5, 0.9, 0.0]]), decided).numpy()[0]
    assert served[1] == pytest.approx(1 / (1 + np.exp(-np.log(9) / 3)), abs=0.03) and served[2] == 0
    assert "times the log-odds" in base_confidence.describe(decided)


def test_confidence_without_calibration_is_unchanged():
    served = base_confidence.calibrated(tf.constant([0.0, 0.2, 1.0]), base_confidence.INITIAL)
    np.testing.assert_allclose(served, [0, 0.2, 1], atol=2e-6)
    assert base_confidence.describe(base_confidence.INITIAL) == ""
    assert EntityConfidence().fit({}) == base_confidence.INITIAL


def test_entities_are_right_if_position_and_type_are():
    outputs = {
        "start": np.array([[0, 4], [0, -1]]),
        "end": np.array([[3, 8], [3, -1]]),
        "entity_label": np.array([[b"PER", b"LOC"], [b"PER", b""]], object),
        "entity_text": np.array([[b"Ann", b"Rome"], [b"Bob", b""]], object),
        "probability": np.array([[0.9, 0.6], [0.8, 0.0]]),
        "num_entities": np.array([2, 1]),
    }
    gold = [(Entity(0, 3, "PER", "Ann"), Entity(4, 8, "PER", "Rome")), ()]
    probabilities, is_right = EntityConfidence().confidences_of(Predicted(outputs, gold))
    assert probabilities.tolist() == [0.9, 0.6, 0.8] and is_right.tolist() == [True, False, False]
