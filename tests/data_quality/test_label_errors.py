"""Label errors: planted ones rank first, with the true label as suggestion and low KNN-Shapley values."""

import numpy as np
from sklearn.metrics import roc_auc_score
from support.clusters import clusters

from tfbert.data_quality.label_errors import score_labels, scores_of_model, supporting_rows


def test_planted_errors_are_found_in_train_and_in_other_splits():
    vectors, true = clusters(300, 4)
    given = true.copy()
    wrong = np.random.default_rng(3).permutation(300)[:30]
    given[wrong] = (given[wrong] + 1) % 4
    other, other_true = clusters(40, 4, seed=9)
    other_given = other_true.copy()
    other_given[7] = (other_given[7] + 2) % 4
    scores, others, values = score_labels(vectors, given, 4, {"test": (other, other_given)})
    is_wrong = np.isin(np.arange(300), wrong)
    assert roc_auc_score(is_wrong, -scores.score) > 0.99
    assert set(scores.doubtful[:30].tolist()) == set(wrong.tolist())
    np.testing.assert_array_equal(scores.suggested[wrong], true[wrong])
    assert scores.disagreement[wrong].min() > 0.5 > scores.disagreement[~is_wrong].max()
    assert roc_auc_score(is_wrong, -values) > 0.95
    assert others["test"].doubtful[0] == 7 and others["test"].suggested[7] == other_true[7]


def test_a_label_that_no_other_row_has_is_not_judged():
    vectors, targets = clusters(60, 3)
    targets[4] = 3
    scores, others, _ = score_labels(vectors, targets, 5, {"test": (vectors[:2], np.asarray([4, 1]))})
    assert np.flatnonzero(~scores.is_judged).tolist() == [4] and 4 not in scores.doubtful
    assert others["test"].is_judged.tolist() == [False, True]


def test_scores_of_a_model():
    scores = scores_of_model(np.float32([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]]), np.asarray([0, 1]))
    np.testing.assert_allclose(scores.score, [0.5, -0.5], atol=1e-6)
    np.testing.assert_allclose(scores.self_confidence, [0.7, 0.2], atol=1e-6)
    assert scores.suggested.tolist() == [0, 2] and scores.doubtful.tolist() == [1]


def test_support_is_the_nearest_rows_with_the_suggested_label_and_not_the_row_itself():
    vectors, targets = clusters(40, 2)
    (support,) = supporting_rows(vectors[3:4], np.asarray([1]), vectors, targets, np.asarray([3]))
    same = [row for row in np.argsort(-(vectors @ vectors[3])) if targets[row] == 1 and row != 3]
    assert support.tolist() == same[:2]
