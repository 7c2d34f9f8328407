"""Scores of a ranking against scikit-learn and by hand, the threshold for abstaining, tables and plot."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from tfbert.evaluation.ranking import Ranking, ranking_of, similarity_plot

GOLD = [("q1", "a"), ("q2", "b"), ("q3", "c"), ("q1", "d"), ("q4", "e")]
FOUND = [list("xaxd"), list("bxyz"), list("xyzw"), list("xaxd"), ["x", "y", "e", ""]]
SIMILARITY = np.array([[0.9, 0.8, 0.7, 0.6], [0.8, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1], [0.9] * 4, [0.5, 0.4, 0.3, 0]])


def test_every_question_counts_once_with_all_its_right_answers():
    ranking, records = ranking_of(FOUND, SIMILARITY, GOLD)
    assert records.tolist() == [0, 1, 2, 4]
    assert ranking.is_right.tolist() == [[False, True, False, True], [True] + [False] * 3, [False] * 4,
                                         [False, False, True, False]]  # fmt: skip
    assert ranking.num_right.tolist() == [2, 1, 1, 1]
    assert ranking.similarity.tolist() == [0.9, 0.8, 0.4, 0.5]
    assert ranking.first_rank().tolist() == [2, 1, 0, 3]
    means = ranking.means()
    assert means["mrr_at_10"] == pytest.approx((1 / 2 + 1 + 0 + 1 / 3) / 4)
    assert (means["recall_at_1"], means["recall_at_5"], means["recall_at_10"]) == (0.25, 0.75, 0.75)
    first = (1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3))
    assert means["ndcg_at_10"] == pytest.approx((first + 1 + 0 + 1 / np.log2(4)) / 4)


def test_padding_is_no_answer():
    ranking, _ = ranking_of([["", ""]], np.zeros((1, 2)), [("q", "")])
    assert not ranking.is_right.any()


def test_nothing_found():
    ranking, _ = ranking_of([[], []], np.zeros((2, 0)), [("q", "a"), ("r", "b")])
    assert set(ranking.means().values()) == {0.0}
    assert ranking.best_threshold() == -1.0
    assert ranking.similarity.tolist() == [-1.0, -1.0]


def test_recall_counts_the_last_rank():
    is_right = np.zeros((3, 10), bool)
    is_right[0, 4] = is_right[1, 5] = is_right[2, 9] = True
    means = Ranking(is_right, np.ones(3, int), np.zeros(3)).means()
    assert means["recall_at_5"] == pytest.approx(1 / 3)
    assert means["recall_at_10"] == 1.0
    assert means["mrr_at_10"] == pytest.approx((1 / 5 + 1 / 6 + 1 / 10) / 3)


def test_ndcg_equals_scikit_learns():
    rng = np.random.default_rng(0)
    relevant = rng.random((40, 30)) < 0.2
    relevant[np.arange(40), rng.integers(0, 30, 40)] = True
    score = rng.random((40, 30))
    order = np.argsort(-score, axis=1)[:, :10]
    ranking = Ranking(np.take_along_axis(relevant, order, 1), relevant.sum(1), np.zeros(40))
    assert ranking.means()["ndcg_at_10"] == pytest.approx(ndcg_score(relevant, score, k=10))


def test_intervals_hold_the_mean_and_are_repeatable():
    ranking, _ = ranking_of(FOUND, SIMILARITY, GOLD)
    found = ranking.with_intervals()
    for name, mean in ranking.means().items():
        assert found[name]["value"] == pytest.approx(mean)
        assert found[name]["low"] < mean < found[name]["high"]
    assert found == ranking.with_intervals()


def with_similarities(similarity, right):
    is_right = np.zeros((len(right), 2), bool)
    is_right[:, 0] = right
    return Ranking(is_right, np.ones(len(right), int), np.asarray(similarity))


@pytest.mark.parametrize(
    ("similarity", "right", "expected"),
    [
        ([0.2, 0.9, 0.8, 0.4], [0, 1, 1, 0], 0.6),  # the wrong ones are all below
        ([0.9, 0.8, 0.4], [1, 0, 1], -1.0),  # F1 of 2 of 3 answered beats 1 of 1
        ([0.9, 0.8], [0, 0], -1.0),
        ([0.9, 0.8], [1, 1], -1.0),
        ([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], 0.3),  # two that are equal go together
        ([0.9, 0.5, 0.5, 0.1], [1, 0, 0, 0], 0.7),
    ],
)
def test_threshold_of_highest_f1(similarity, right, expected):
    ranking = with_similarities(similarity, right)
    assert ranking.best_threshold() == pytest.approx(expected)


def test_threshold_is_best_of_all():
    rng = np.random.default_rng(1)
    similarity = rng.random(60).round(2)
    right = rng.random(60) < similarity
    ranking = with_similarities(similarity, right)

    def f1(threshold):
        given = similarity >= threshold
        return 2 * (right & given).sum() / (given.sum() + len(right))

    best = max(f1(threshold) for threshold in [-1, *similarity])
    assert f1(ranking.best_threshold()) == pytest.approx(best)


def test_tables():
    ranking, _ = ranking_of(FOUND, SIMILARITY, GOLD)
    assert ranking.rank_table()["rows"] == [
        ["1", 1, "25.0 %"], ["2 to 3", 2, "50.0 %"], ["4 to 5", 0, "0.0 %"], ["6 to 10", 0, "0.0 %"],
        ["not among the first 10", 1, "25.0 %"],
    ]  # fmt: skip
    rows = ranking.threshold_table(0.6)["rows"]
    assert rows == [["every question", 4, "100.0 %", "25.0 %"], ["the tuned threshold", 2, "50.0 %", "50.0 %"]]
    assert ranking.threshold_table(0.95)["rows"][1] == ["the tuned threshold", 0, "0.0 %", "–"]
    assert "0.6000" in ranking.threshold_table(0.6)["caption"]


def test_worst_are_wrong_and_similar_first():
    ranking, _ = ranking_of(FOUND, SIMILARITY, GOLD)
    assert ranking.worst() == [0, 3, 2]


def test_plot_draws_both_kinds_and_the_threshold():
    ranking, _ = ranking_of(FOUND, SIMILARITY, GOLD)
    drawn = similarity_plot(ranking, 0.6)
    assert drawn.startswith("<svg")
    assert all(text in drawn for text in ("first answer right", "first answer wrong", "threshold"))
    assert ">threshold<" not in similarity_plot(with_similarities([0.5, 0.5], [1, 0]), -1.0)
