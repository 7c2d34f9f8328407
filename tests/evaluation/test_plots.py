"""Plots of the report: what they draw and omit, and their texts."""

import re

import numpy as np
import pytest

from tfbert.evaluation import plots
from tfbert.evaluation.drawing import text_em
from tfbert.evaluation.metric import Metric


def texts(svg):
    """Return the texts of a plot, in order."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", str(svg))


def title(svg):
    return re.search(r'aria-label="([^"]*)"', str(svg))[1]


def test_smoothing_keeps_a_constant_and_averages_a_step():
    np.testing.assert_allclose(plots.smooth(np.full(100, 3.0)), 3.0)
    smooth = plots.smooth(np.r_[np.zeros(50), np.ones(50)])
    # A window of 5 around index 49 holds three zeros and two ones.
    assert smooth[49] == pytest.approx(0.4) and smooth[40] == 0 and smooth[60] == 1


HISTORY = [
    {"epoch": 1, "loss": 1.5, "learning_rate": 2e-4, "validation": {"loss": 1.2, "accuracy": 0.5}},
    {"epoch": 2, "loss": 0.7, "learning_rate": 1e-4, "validation": {"loss": 0.9, "accuracy": 0.75}},
]
SERIES = {"accuracy": {0: 0.25, 1: 0.5, 2: 0.75}}


def test_learning_curves_draw_only_known_values():
    labels = plots.learning_curves(HISTORY, [(1, 2.0), (2, 1.0)], SERIES, [2])
    assert list(map(title, labels)) == [
        "Training and validation loss",
        "Validation metrics by epoch",
        "Learning rate by epoch",
    ]
    loss, metric, rate = map(texts, labels)
    assert {"Loss by step", "training, smoothed", "validation"} <= set(loss)
    assert {"weights kept", "accuracy"} <= set(metric) and any(text.endswith(" %") for text in metric)
    assert "Learning rate by epoch" in rate and any(text.endswith("e-4") for text in rate)
    # Without losses by step, the losses by epoch are drawn; metrics and learning rates are omitted if unknown.
    rows = [{"epoch": row["epoch"], "loss": row["loss"]} for row in HISTORY]
    [loss] = plots.learning_curves(rows, [], {}, [])
    assert "Loss by epoch" in texts(loss) and "validation" not in texts(loss)
    assert plots.learning_curves([{"epoch": 1}], [], {}, []) == []


def test_only_fractions_are_shown_as_percentages():
    [curve] = plots.learning_curves([{"epoch": 1}], [], {"mae": {0: 5.0, 1: 2.0}}, [], is_fraction=False)
    assert "mae" in texts(curve) and not any("%" in text or "kept" in text for text in texts(curve))


def percentages(svg):
    return [text for text in texts(svg) if text.endswith(" %")]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({0: 0.0, 1: 0.0}, ["0 %", "2 %", "4 %", "6 %"]),
        ({0: 0.9, 1: 1.0}, ["90 %", "95 %", "100 %"]),
        ({0: 0.5, 1: 0.51}, ["50.0 %", "50.5 %", "51.0 %"]),
    ],
)
def test_percentages_are_told_apart_and_do_not_leave_their_range(scores, expected):
    [curve] = plots.learning_curves([{"epoch": 1}], [], {"accuracy": scores}, [0, 1])
    assert percentages(curve) == expected and "weights averaged" in texts(curve)
    points = [{"num_examples": 10 * 2**index, "scores": [score]} for index, score in scores.items()]
    curve = plots.training_sizes(points, Metric("accuracy", "higher", "fraction", "hits"))
    assert percentages(curve) == expected


def test_long_series_are_smoothed():
    short_plot = plots.lines("Loss", {"a": [(1, 2.0), (2, 1.0)]}, vertical_line=(2, "warm-up ends"))
    long_plot = plots.lines("Loss", {"a": [(step, 1 / step) for step in range(1, 100)]})
    assert {"Loss", "a", "warm-up ends"} <= set(texts(short_plot))
    # The raw values are drawn in a pale colour under the smoothed ones.
    assert "opacity: 0.3" not in str(short_plot) and "opacity: 0.3" in str(long_plot)
    assert any(text.endswith(" %") for text in texts(plots.lines("Fraction", {"a": [(1, 0.5)]}, is_fraction=True)))


def test_a_heat_map_has_a_number_in_every_nonzero_cell():
    labels = texts(plots.heat_map(np.array([[8, 1, 0], [0, 27, 3]]), ["card", "fee"], ["card", "fee", "loan"]))
    assert sorted(text for text in labels if text.isdigit()) == ["1", "27", "3", "8"]
    assert labels.count("card") == labels.count("fee") == 2 and labels.count("loan") == 1


def test_matrix_picture_has_no_label_names():
    labels = plots.matrix_picture(np.array([[8, 1], [0, 0]]))
    assert "<image" in str(labels) and set(texts(labels)) == {"predicted", "true"}


def test_a_reliability_diagram_distinguishes_few_examples_from_many():
    edges = [{"low": low, "high": low + 0.5} for low in (0.0, 0.5)]
    many, few = (
        edge | {"num_examples": n, "mean_probability": 0.6, "accuracy": 0.4}
        for edge, n in zip(edges, (10, 9), strict=True)
    )
    empty = edges[0] | {"num_examples": 0, "mean_probability": None, "accuracy": None}
    assert {"10 examples or more", "fewer than 10"} <= set(texts(plots.reliability([many, few])))
    only_few = texts(plots.reliability([empty, few]))
    assert "fewer than 10" in only_few and "10 examples or more" not in only_few


def test_the_truncation_length_is_drawn_if_texts_are_about_as_long():
    lengths = {"train": np.array([5, 20, 90]), "test": np.array([7, 30])}
    assert "truncated at 64 tokens" in texts(plots.length_histogram(lengths, 64))
    assert "truncated at 64 tokens" not in texts(plots.length_histogram({"train": np.array([5, 20])}, 64))
    assert {"train", "test"} <= set(texts(plots.length_histogram(lengths, None)))
    long_one = {"train": np.r_[np.full(999, 10), 5000]}
    assert "tokens, longer texts in the last bar" in texts(plots.length_histogram(long_one, None))


def test_names_of_narrow_columns_are_rotated():
    wide, long_name = np.eye(2, dtype=int), "a label of thirty characters.."
    assert "rotate(-45 " not in str(plots.heat_map(wide, ["a", "b"], ["a", "b"]))
    assert text_em(long_name) * 8 > 38
    assert "rotate(-45 " in str(plots.heat_map(wide, ["a", long_name], ["a", long_name]))
