"""The monitored metric and the schedule of evaluations."""

import pytest

from tfbert.evaluation.metric import Metric
from tfbert.training.monitoring import Schedule, choose, improves, standard_error


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


ACCURACY = Metric("accuracy", "higher", "fraction", "right")
LOSS = Metric("loss", "lower", "nats", "cross-entropy")


@pytest.mark.parametrize(
    ("unit", "expected"), [("fraction", 0.04), ("correlation", 0.036), ("target", 0.0), ("nats", 0.0)]
)
def test_the_standard_error_of_a_score(unit, expected):
    assert standard_error(Metric("m", "higher", unit, "measure"), 0.8, 100) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scores", "losses", "num_records", "expected"),
    [
        # The standard error is 0.04 with 100 records and 0.004 with 10,000.
        ([0.80, 0.77, 0.70], [0.9, 0.5, 0.1], 100, 1),
        ([0.80, 0.77, 0.70], [0.9, 0.5, 0.1], 10_000, 0),
        ([0.70, 0.80, 0.80], [0.1, 0.5, 0.5], 10_000, 1),
    ],
)
def test_the_loss_decides_between_scores_within_a_standard_error(scores, losses, num_records, expected):
    candidates = [{"accuracy": score, "loss": loss} for score, loss in zip(scores, losses, strict=True)]
    assert choose(ACCURACY, LOSS, candidates, num_records) == expected


def test_without_a_loss_the_first_of_the_best_scores_is_chosen():
    assert choose(ACCURACY, None, [{"accuracy": score} for score in (0.7, 0.8, 0.8)], 100) == 1
    rmse = Metric("rmse", "lower", "target", "distance")
    assert choose(rmse, LOSS, [{"rmse": 2.0, "loss": 0.1}, {"rmse": 1.0, "loss": 0.2}], 100) == 1


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
