"""Temperature scaling and sigmoids find the scale that was applied, and agree with scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tfbert.calibration.temperature import fit_sigmoid, fit_sigmoids, fit_temperature, negative_log_likelihood


def drawn(num_records=4000, num_labels=5, seed=0):
    """Return calibrated logits and labels drawn from their softmax."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(num_records, num_labels)) * 2
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return logits, np.array([rng.choice(num_labels, p=row) for row in probabilities])


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_a_scale(scale):
    logits, targets = drawn()
    temperature = fit_temperature(logits * scale, targets)
    assert temperature == pytest.approx(scale, rel=0.06)
    assert negative_log_likelihood(logits * scale / temperature, targets) <= negative_log_likelihood(logits, targets)


def test_constants_per_record_do_not_matter():
    logits, targets = drawn(500)
    shift = np.arange(500)[:, None]
    assert fit_temperature(logits + shift, targets) == pytest.approx(fit_temperature(logits, targets), rel=1e-3)


def test_a_few_records_that_are_all_right_do_not_make_predictions_certain():
    logits = 3 * np.eye(3)[np.arange(30) % 3]
    temperature = fit_temperature(logits, np.arange(30) % 3)
    assert 0.2 < temperature < 1
    assert fit_temperature(np.tile(logits, (100, 1)), np.tile(np.arange(30) % 3, 100)) < temperature / 1.5
    assert fit_temperature(np.tile(logits, (100, 1)), np.tile((np.arange(30) + 1) % 3, 100)) > 10


def test_the_sigmoid_of_a_label_is_that_of_logistic_regression():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(3000, 2)) * 3
    truth = 1 / (1 + np.exp(-(0.5 * logits + np.array([1.0, -2.0]))))
    targets = rng.random((3000, 2)) < truth
    slopes, intercepts = fit_sigmoids(logits, targets)
    for label in range(2):
        peer = LogisticRegression(C=np.inf, tol=1e-8).fit(logits[:, [label]], targets[:, label])
        assert slopes[label] == pytest.approx(peer.coef_[0, 0], abs=0.03)
        assert intercepts[label] == pytest.approx(peer.intercept_[0], abs=0.05)


def test_the_sigmoid_of_confidences_undoes_overconfidence():
    rng = np.random.default_rng(3)
    log_odds = rng.normal(1, 2, size=5000)
    is_right = rng.random(5000) < 1 / (1 + np.exp(-log_odds))
    slope, intercept = fit_sigmoid(1 / (1 + np.exp(-(2 * log_odds + 1))), is_right)
    assert slope == pytest.approx(0.5, abs=0.05) and intercept == pytest.approx(-0.5, abs=0.15)
    assert fit_sigmoid(np.full(100, 0.9), np.arange(100) < 80) == (1.0, 0.0)


def test_a_rare_label_has_the_sigmoid_of_all_labels():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(400, 3))
    targets = rng.random((400, 3)) < 0.5
    targets[29:, 2] = False
    slopes, intercepts = fit_sigmoids(logits, targets)
    alone, _ = fit_sigmoids(logits.reshape(-1, 1), targets.reshape(-1, 1))
    assert slopes[2] == pytest.approx(alone[0], rel=1e-4) and slopes[0] != pytest.approx(slopes[2], rel=1e-4)
    assert np.isfinite(intercepts).all() and (slopes > 0).all()


def test_a_label_that_is_predicted_perfectly_has_a_finite_sigmoid():
    logits = np.linspace(-1, 1, 200)[:, None]
    slopes, intercepts = fit_sigmoids(logits, logits > 0)
    assert 1 < slopes[0] <= 20.01 and np.isfinite(intercepts).all()
