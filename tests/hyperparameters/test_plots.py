"""Plots of a search: scores by trial and by the value of a hyperparameter."""

import re

from tfbert.evaluation.classification import LOSS, MACRO_F1
from tfbert.evaluation.entities import F1
from tfbert.hyperparameters import plots

RATE = "train.learning_rate"


def texts(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", str(svg))


def heights(svg, name):
    """Return how high the points of a curve are, in the order of trials; larger is lower on the page."""
    path = re.search(rf'<path d="([^"]+)"[^>]*stroke: var\(--{name}\)', str(svg))[1]
    return [float(y) for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", path)]


def trials(values, scores, path=RATE):
    pairs = enumerate(zip(values, scores, strict=True))
    return [{"id": str(index), "values": {path: value}, "score": score} for index, (value, score) in pairs]


def test_the_best_so_far_never_gets_worse():
    some = trials(range(4), [0.5, 0.7, 0.6, 0.9])
    gain, loss = plots.history(some, MACRO_F1), plots.history(some, LOSS)
    assert {"macro F1 on validation by trial", "trial", "best so far"} <= set(texts(gain))
    rising, falling = heights(gain, "ink"), heights(loss, "ink")
    assert rising == sorted(rising, reverse=True) and len(set(rising)) == 3
    assert len(set(falling)) == 1
    assert "trial" in texts(plots.history([], LOSS))


def test_few_values_are_drawn_as_categories_with_means():
    labels = texts(plots.by_value(trials(["mean", "cls", "mean"], [0.5, 0.7, 0.9], "head.pooling"), "head.pooling", F1))
    assert {"F1 by head.pooling", "mean", "cls"} <= set(labels)
    numbers = texts(plots.by_value(trials([8, 32, 16, 8], [0.1, 0.2, 0.3, 0.4], "a.b"), "a.b", F1))
    positions = [numbers.index(value) for value in ("8", "16", "32")]
    assert positions == sorted(positions)


def test_many_numbers_are_drawn_on_a_continuous_axis():
    rates = [10 ** -(2 + i / 3) for i in range(9)]
    labels = texts(plots.by_value(trials(rates, [0.5] * 9), RATE, F1))
    # A logarithmic axis.
    assert {"1e-4", "3e-4", "0.001"} <= set(labels)
    even = texts(plots.by_value(trials([0.1 * i for i in range(9)], [0.5] * 9, "head.dropout"), "head.dropout", F1))
    assert "1e-4" not in even and "0.4" in even


def test_trials_without_the_value_are_omitted():
    some = trials([0.5, None, 0.25], [0.1, 0.2, 0.3], "head.dropout") + [{"values": {}, "score": 0.4}]
    labels = texts(plots.by_value(some, "head.dropout", F1))
    assert {"0.25", "0.5"} <= set(labels) and "none" not in labels
