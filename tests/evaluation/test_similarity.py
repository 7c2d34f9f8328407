"""Evaluation of text similarity: correlations with the scores, whatever their units."""

import numpy as np
import pytest

from tfbert.evaluation.similarity import METRICS, SimilarityEvaluation

SIMILARITY = np.array([0.1, 0.4, 0.35, 0.8, 0.6], np.float32)
GOLD = [0.0, 1.0, 2.0, 5.0, 4.0]


def test_scores_are_correlations():
    evaluation = SimilarityEvaluation(SIMILARITY, GOLD)
    values, intervals = evaluation.values(), evaluation.intervals()
    assert values["spearman"] == pytest.approx(0.9)
    assert values["pearson"] == pytest.approx(np.corrcoef(SIMILARITY, GOLD)[0, 1])
    assert [metric.name for metric in METRICS] == list(values) == list(intervals)
    for name, value in values.items():
        assert intervals[name]["value"] == pytest.approx(value)
        assert intervals[name]["low"] <= value <= intervals[name]["high"]
    assert intervals["pearson"]["low"] < intervals["pearson"]["high"]


def test_correlations_do_not_depend_on_units():
    assert SimilarityEvaluation(SIMILARITY, GOLD).values() == pytest.approx(
        SimilarityEvaluation(2 * SIMILARITY - 1, [10 * score + 3 for score in GOLD]).values()
    )


def test_the_report_has_a_plot_and_no_mistakes():
    evaluation = SimilarityEvaluation(SIMILARITY, GOLD)
    sections = evaluation.sections()
    assert evaluation.mistakes() == [] and [figure["title"] for figure in sections["figures"]] == [
        "Similarity by score"
    ]
    assert sections["figures"][0]["svg"].startswith("<svg")
