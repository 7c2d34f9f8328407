"""Exact match and F1 as in the official script, and the no-answer threshold."""

import itertools

import numpy as np
import pytest

from tfbert.evaluation import squad


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Quick, brown-Fox!", "quick brownfox"),
        ("an apple a day", "apple day"),
        ("theatre", "theatre"),
        ("A", ""),
        ("U.S.", "us"),
        ("the-end", "theend"),  # punctuation is removed before articles
        ("«Ça»", "«ça»"),  # ASCII punctuation only
        ("1,000", "1000"),
    ],
)
def test_normalize(text, expected):
    assert squad.normalize(text) == expected


# Exact match and F1, computed by hand as in the official script.
OFFICIAL = [
    ("Denver Broncos", ["Denver Broncos", "The Denver Broncos!"], 1.0, 1.0),
    ("the broncos", ["Denver Broncos"], 0.0, 2 / 3),  # 1 of 1 and 1 of 2 words
    ("in 1990 or 1990", ["1990"], 0.0, 0.4),  # a repeated word counts once: 1 of 4 and 1 of 1
    ("Broncos of Denver", ["Denver Broncos", "Broncos of Denver Colorado"], 0.0, 6 / 7),  # best of 4/5 and 6/7
    ("Carolina", ["Denver"], 0.0, 0.0),
    ("", ["Denver"], 0.0, 0.0),
    ("", [], 1.0, 1.0),
    ("Denver", [], 0.0, 0.0),
    ("the", [], 1.0, 1.0),  # nothing remains, which equals no answer
    ("", ["a"], 1.0, 1.0),  # the 2.0 script drops true answers that consist of articles
    ("我爱你", ["我爱她"], 0.0, 0.0),  # a single word for the script
]


@pytest.mark.parametrize(("predicted", "gold", "exact", "f1"), OFFICIAL)
def test_official_scores(predicted, gold, exact, f1):
    assert squad.exact_match(predicted, gold) == exact
    assert squad.f1(predicted, gold) == pytest.approx(f1)


def test_score_all_keeps_the_order():
    scores = squad.score_all([case[0] for case in OFFICIAL], [case[1] for case in OFFICIAL])
    assert scores["exact_match"].tolist() == [case[2] for case in OFFICIAL]
    assert scores["f1"] == pytest.approx([case[3] for case in OFFICIAL])


def reached(threshold, margins, answered, empty):
    return np.where(margins > threshold, empty, answered).sum()


def test_no_threshold_has_a_higher_score():
    rng = np.random.default_rng(0)
    for _ in range(200):
        count = rng.integers(1, 8)
        margins = rng.integers(-3, 4, count).astype(float)
        answered = rng.integers(0, 3, count) / 2
        empty = rng.integers(0, 2, count).astype(float)
        threshold = squad.best_threshold(margins, answered, empty)
        candidates = [reached(t, margins, answered, empty) for t in np.arange(-4, 5, 0.5)]
        assert reached(threshold, margins, answered, empty) == max(candidates)


@pytest.mark.parametrize(
    ("margins", "has_answer", "expected"),
    [
        ([-5.0, -1.0, 3.0, 5.0], [1, 1, 0, 0], 0.0),  # any value from -1 to 3 is best; 0 is the default
        ([-5.0, -3.0, -1.0, 5.0], [1, 1, 0, 0], -2.0),  # halfway between -3 and -1
        ([1.0, 2.0, 4.0], [1, 1, 0], 3.0),
        ([1.0, 2.0], [1, 1], 3.0),  # answer all
        ([-2.0, -1.0], [0, 0], -3.0),  # answer none
    ],
)
def test_best_threshold_by_hand(margins, has_answer, expected):
    has_answer = np.array(has_answer, float)
    assert squad.best_threshold(np.array(margins), has_answer, 1 - has_answer) == expected


def test_threshold_curve_by_hand():
    margins = np.array([-2.0, 0.0, 1.0, 3.0])
    has_answer = np.array([True, False, True, False])
    curve = squad.threshold_curve(margins, np.array([1.0, 0.0, 0.5, 0.0]), has_answer)
    assert curve["threshold"].tolist() == [-2, 0, 1, 3]
    assert curve["has_answer"].tolist() == [0.5, 0.5, 0.75, 0.75]
    assert curve["no_answer"].tolist() == [1.0, 0.5, 0.5, 0.0]
    assert curve["all"].tolist() == [0.75, 0.5, 0.625, 0.375]


def test_threshold_curve_agrees_with_the_best_threshold():
    rng = np.random.default_rng(1)
    margins, has_answer = rng.normal(size=300), rng.random(300) < 0.5
    answered = np.where(has_answer, rng.random(300), 0.0)
    curve = squad.threshold_curve(margins, answered, has_answer, num_points=1000)
    best = squad.best_threshold(margins, answered, 1.0 - has_answer)
    assert reached(best, margins, answered, 1.0 - has_answer) / 300 == pytest.approx(curve["all"].max(), abs=1e-3)


def test_the_order_of_true_answers_does_not_matter():
    for gold in itertools.permutations(["one two", "two", "three four five"]):
        assert squad.f1("two three", gold) == pytest.approx(2 / 3)
