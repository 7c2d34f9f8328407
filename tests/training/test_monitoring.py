"""The monitored metric and the schedule of evaluations."""

import pytest

from tfbert.evaluation.metric import Metric
from tfbert.training.monitoring import Schedule, improves


@pytest.mark.parametrize(
    ("better", "score", "best", "expected"),
    [
        ("higher", 0.6, 0.5, True),
        ("higher", 0.5, 0.6, False),
        ("lower", 0.5, 0.6, True),
        ("lower", 0.6, 0.5, False),
        ("higher", 0.5, 0.5, False),
        ("lower", 0.5, 0.5, False),
        ("higher", -1.0, None, True),
        ("lower", 9.0, None, True),
    ],
)
def test_a_direction_is_declared_and_an_equal_score_is_no_improvement(better, score, best, expected):
    # The direction must not be guessed from the name.
    assert improves(Metric("rmse", better, "target", "distance"), score, best) is expected


@pytest.mark.parametrize(
    ("update", "by_epoch", "by_update"),
    [
        (0, "update 0 of epoch 1", "update 0"),
        (1, "update 1 of epoch 1", "update 1"),
        (600, "update 600 of epoch 1", "update 600"),
        (601, "update 1 of epoch 2", "update 601"),
        (1200, "update 600 of epoch 2", "update 1,200"),
    ],
)
def test_positions_in_messages(update, by_epoch, by_update):
    positions = [
        Schedule(updates=frozenset(), updates_per_epoch=600, by_epoch=flag).place(update) for flag in (True, False)
    ]
    assert positions == [by_epoch, by_update]


def test_the_end_of_a_training_in_messages():
    ends = [Schedule(updates=frozenset(), updates_per_epoch=600, by_epoch=flag).end(1200) for flag in (True, False)]
    assert ends == ["epoch 2, the last", "update 1,200, the last"]
