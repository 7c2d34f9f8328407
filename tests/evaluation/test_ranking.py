"""Evaluation of rankings: scores by hand and by scikit-learn, abstention threshold, tables, plot and mistakes."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from tfbert.evaluation.ranking import METRICS, Ranking, RankingEvaluation, ranking_of, similarity_plot

GOLD = [("q1", "a"), ("q2", "b"), ("q3", "c"), ("q1", "d"), ("q4", "e")]
ANSWERS = np.array(
    [[b"x", b" a\n", b"x", b"d"], [b"b", b"x", b"y", b"z"], [b"x", b"y", b"z", b"w"], [b"x", b"a", b"x", b"d"],
     [b"x  x", b"y", b"e", b""]], object,
)  # fmt: skip
SIMILARITY = np.array([[0.9, 0.8, 0.7, 0.6], [0.8, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1], [0.9] * 4, [0.5, 0.4, 0.3, 0]])


def means(ranking):
    return {name: values.mean() for name, values in ranking.by_question().items()}


def test_every_question_counts_once_with_all_its_right_answers():
    ranking, records = ranking_of(ANSWERS, SIMILARITY, GOLD)
    assert records.tolist() == [0, 1, 2, 4]
    assert ranking.is_right.tolist() == [[False, True, False, True], [True] + [False] * 3, [False] * 4,
                                         [False, False, True, False]]  # fmt: skip
    assert ranking.num_right.tolist() == [2, 1, 1, 1]
    assert ranking.similarity.tolist() == [0.9, 0.8, 0.4, 0.5]
    assert ranking.first_rank().tolist() == [2, 1, 0, 3]
    scores = means(ranking)
    assert scores["mrr_at_10"] == pytest.approx((1 / 2 + 1 + 0 + 1 / 3) / 4)
    assert (scores["recall_at_1"], scores["recall_at_5"], scores["recall_at_10"]) == (0.25, 0.75, 0.75)
    first = (1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3))
    assert scores["ndcg_at_10"] == pytest.approx((first + 1 + 0 + 1 / np.log2(4)) / 4)


def test_padding_is_never_right():
    ranking, _ = ranking_of(np.array([[b"", b""]], object), np.zeros((1, 2)), [("q", "")])
    assert not ranking.is_right.any()


def test_no_answers():
    ranking, _ = ranking_of(np.zeros((2, 0), object), np.zeros((2, 0)), [("q", "a"), ("r", "b")])
    assert set(means(ranking).values()) == {0.0}
    assert ranking.best_threshold() == -1.0
    assert ranking.similarity.tolist() == [-1.0, -1.0]


def test_recall_includes_the_last_rank():
    is_right = np.zeros((3, 10), bool)
    is_right[0, 4] = is_right[1, 5] = is_right[2, 9] = True
    scores = means(Ranking(is_right, np.ones(3, int), np.zeros(3)))
    assert scores["recall_at_5"] == pytest.approx(1 / 3)
    assert scores["recall_at_10"] == 1.0
    assert scores["mrr_at_10"] == pytest.approx((1 / 5 + 1 / 6 + 1 / 10) / 3)


def test_ndcg_equals_scikit_learn():
    rng = np.random.default_rng(0)
    relevant = rng.random((40, 30)) < 0.2
    relevant[np.arange(40), rng.integers(0, 30, 40)] = True
    score = rng.random((40, 30))
    order = np.argsort(-score, axis=1)[:, :10]
    ranking = Ranking(np.take_along_axis(relevant, order, 1), relevant.sum(1), np.zeros(40))
    assert means(ranking)["ndcg_at_10"] == pytest.approx(ndcg_score(relevant, score, k=10))


def test_intervals_contain_the_value_and_are_repeatable():
    evaluation = RankingEvaluation(ANSWERS, SIMILARITY, GOLD, 0.6)
    intervals, values = evaluation.intervals(), evaluation.values()
    assert values == means(ranking_of(ANSWERS, SIMILARITY, GOLD)[0])
    for name, mean in values.items():
        assert intervals[name]["value"] == pytest.approx(mean)
        assert intervals[name]["low"] < mean < intervals[name]["high"]
    assert intervals == evaluation.intervals()
    assert [metric.name for metric in METRICS] == list(values) == list(intervals)
    assert evaluation.scores() == {"metrics": intervals, "per_label": {}}


def with_similarities(similarity, right):
    is_right = np.zeros((len(right), 2), bool)
    is_right[:, 0] = right
    return Ranking(is_right, np.ones(len(right), int), np.asarray(similarity))


@pytest.mark.parametrize(
    ("similarity", "right", "expected"),
    [
        ([0.2, 0.9, 0.8, 0.4], [0, 1, 1, 0], 0.6),  # all wrong answers are below
        ([0.9, 0.8, 0.4], [1, 0, 1], -1.0),  # 2 right of 3 answered has a higher F1 than 1 of 1
        ([0.9, 0.8], [0, 0], -1.0),
        ([0.9, 0.8], [1, 1], -1.0),
        ([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], 0.3),  # equal similarities are not separated
        ([0.9, 0.5, 0.5, 0.1], [1, 0, 0, 0], 0.7),
    ],
)
def test_threshold_of_highest_f1(similarity, right, expected):
    ranking = with_similarities(similarity, right)
    assert ranking.best_threshold() == pytest.approx(expected)


def test_no_threshold_has_a_higher_f1():
    rng = np.random.default_rng(1)
    similarity = rng.random(60).round(2)
    right = rng.random(60) < similarity
    ranking = with_similarities(similarity, right)

    def f1(threshold):
        is_answered = similarity >= threshold
        return 2 * (right & is_answered).sum() / (is_answered.sum() + len(right))

    best = max(f1(threshold) for threshold in [-1, *similarity])
    assert f1(ranking.best_threshold()) == pytest.approx(best)


def test_tables():
    ranking, _ = ranking_of(ANSWERS, SIMILARITY, GOLD)
    assert ranking.rank_table()["rows"] == [
        ["1", 1, "25.0 %"], ["2 to 3", 2, "50.0 %"], ["4 to 5", 0, "0.0 %"], ["6 to 10", 0, "0.0 %"],
        ["not among the first 10", 1, "25.0 %"],
    ]  # fmt: skip
    rows = ranking.threshold_table(0.6)["rows"]
    assert rows == [["all", 4, "100.0 %", "25.0 %"], ["above the threshold", 2, "50.0 %", "50.0 %"]]
    assert ranking.threshold_table(0.95)["rows"][1] == ["above the threshold", 0, "0.0 %", "–"]
    assert "0.6000" in ranking.threshold_table(0.6)["caption"]


def test_worst_are_wrong_answers_of_the_highest_similarity():
    ranking, _ = ranking_of(ANSWERS, SIMILARITY, GOLD)
    assert ranking.worst() == [0, 3, 2]


def test_plot_shows_right_and_wrong_answers_and_the_threshold():
    ranking, _ = ranking_of(ANSWERS, SIMILARITY, GOLD)
    svg = similarity_plot(ranking, 0.6)
    assert svg.startswith("<svg")
    assert all(text in svg for text in ("first answer right", "first answer wrong", "threshold"))
    assert ">threshold<" not in similarity_plot(with_similarities([0.5, 0.5], [1, 0]), -1.0)


def test_sections_of_the_report():
    evaluation = RankingEvaluation(ANSWERS, SIMILARITY, GOLD, 0.6)
    ranking, _ = ranking_of(ANSWERS, SIMILARITY, GOLD)
    sections = evaluation.sections()
    assert sections["tables"] == [ranking.rank_table(), ranking.threshold_table(0.6)]
    assert [figure["svg"] for figure in sections["figures"]] == [similarity_plot(ranking, 0.6)]
    # Records 0, 2 and 4 are the first records of the questions with a wrong first answer; answers are not normalized.
    assert [(record, evaluation.outcome(record).predicted) for record in evaluation.mistakes()] == [
        (0, "x"), (4, "x  x"), (2, "x"),
    ]  # fmt: skip
    empty = RankingEvaluation(np.zeros((2, 0), object), np.zeros((2, 0)), [("q", "a"), ("r", "b")], -1.0)
    assert empty.mistakes() == []
    assert set(empty.values().values()) == {0.0}
