"""Drift: none between random halves, some between splits with other vectors or other label frequencies."""

import numpy as np
import pytest
from support.clusters import clusters

from tfbert.data_quality import probe
from tfbert.data_quality.drift import measure_drift


def test_random_halves_do_not_differ():
    vectors, targets = clusters(400, 4)
    labels = [f"label {target}" for target in targets]
    drift = measure_drift(("train", "test"), vectors[:200], vectors[200:], labels[:200], labels[200:])
    assert drift.low < 0.5 < drift.high
    assert not drift.has_other_texts and not drift.has_other_labels
    assert drift.line().startswith("train and test: texts hardly differ")


def test_other_texts_and_other_frequencies():
    vectors, targets = clusters(400, 2)
    drift = measure_drift(("train", "test"), vectors[targets == 0], vectors[targets == 1], ["a"] * 150 + ["b"] * 50,
                          ["a"] * 100 + ["b"] * 100)  # fmt: skip
    assert drift.has_other_texts and drift.auroc > 0.95
    assert drift.has_other_labels and drift.labels.distance == pytest.approx(0.25)
    assert (drift.labels.first, drift.labels.second) in [(0.75, 0.5), (0.25, 0.5)]


def test_a_classifier_that_stops_early_does_not_warn(monkeypatch):
    monkeypatch.setattr(probe, "_MAX_ITERATIONS", 1)
    vectors, targets = clusters(60, 2)
    assert measure_drift(("a", "b"), vectors[targets == 0], vectors[targets == 1], [], []).auroc > 0.9


def test_few_rows_and_no_labels_are_not_compared():
    drift = measure_drift(("train", "test"), np.eye(3), np.eye(3), [], [])
    assert drift.auroc is None and drift.labels is None
