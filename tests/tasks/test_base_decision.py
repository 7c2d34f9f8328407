"""Decisions: what those do that only add outputs."""

import tensorflow as tf

from tfbert.tasks.regression import Interval


def test_a_decision_without_sets_and_calibration_changes_no_scores():
    decision = Interval(0.9)
    scores = tf.constant([[1.0], [2.0]])
    assert decision.calibrate(scores, decision.initial()) is scores
    assert decision.limitation({}) == ""
