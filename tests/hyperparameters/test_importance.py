"""Hyperparameter importance, which needs enough trials."""

import math

import numpy as np
import pytest

from tfbert.hyperparameters.importance import encoded, importances

RATE, POOLING = "train.learning_rate", "head.pooling"


def trials(count):
    """Return trials whose score depends on the learning rate only."""
    rng = np.random.default_rng(0)
    rates = 10 ** rng.uniform(-5, -2, count)
    return [
        {"values": {RATE: float(rate), POOLING: rng.choice(["cls", "mean"])}, "score": 1 + 0.2 * math.log10(rate)}
        for rate in rates
    ]


def test_the_hyperparameter_that_determines_the_score_has_nearly_all_importance():
    by_path = importances(trials(30), [RATE, POOLING])
    assert list(by_path) == [RATE, POOLING]
    assert sum(by_path.values()) == pytest.approx(1) and by_path[RATE] > 0.95
    assert by_path == importances(trials(30), [RATE, POOLING])


def test_too_few_trials_give_no_importance():
    assert importances(trials(7), [RATE]) == {}
    assert importances(trials(8), [RATE]).keys() == {RATE}


def test_equal_scores_give_no_importance():
    same = [trial | {"score": 0.5} for trial in trials(10)]
    assert importances(same, [RATE, POOLING]) == {RATE: 0.0, POOLING: 0.0}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 5, 2], [1, 5, 2]),
        ([1e-4, None, 1e-2], [math.log(1e-4), math.log(1e-4) - 1, math.log(1e-2)]),
        ([0.0, 0.5, None], [0, 0.5, -1]),
        (["cls", "mean", None, "cls"], [0, 1, -1, 0]),
        ([None, None], [-1, -1]),
        ([True, 1], [0, 1]),
    ],
)
def test_values_become_numbers(values, expected):
    np.testing.assert_allclose(encoded(values), expected)
