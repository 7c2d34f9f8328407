"""The cross-validated probe: probabilities that do not depend on the label of the row itself."""

import numpy as np
from support.clusters import clusters

from tfbert.data_quality.probe import out_of_sample


def test_rows_are_predicted_by_probes_that_have_not_seen_their_labels():
    vectors, targets = clusters(100, 4)
    wrong = targets.copy()
    wrong[:8] = (wrong[:8] + 1) % 4
    probabilities, (others,) = out_of_sample(vectors, wrong, 4, [vectors[:8]])
    np.testing.assert_array_equal(probabilities[:8].argmax(axis=1), targets[:8])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(others.sum(axis=1), 1, atol=1e-5)


def test_a_label_without_other_examples_has_probability_0():
    vectors, targets = clusters(40, 3)
    targets[5] = 3
    probabilities, _ = out_of_sample(vectors, targets, 4)
    assert probabilities[5, 3] == 0 and probabilities[5].sum() > 0.99


def test_rows_of_a_group_are_predicted_by_probes_that_have_not_seen_the_group():
    vectors, targets = clusters(40, 2)
    # The only row of its direction, twice: a probe that had seen the other one would predict its label.
    vectors = np.concatenate([vectors, np.eye(1, 16, 15), np.eye(1, 16, 15)]).astype(np.float32)
    targets, groups = np.append(targets, [2, 2]), np.append(np.arange(40), [40, 40])
    probabilities, _ = out_of_sample(vectors, targets, 3, groups=groups, max_fitted=30)
    assert (probabilities[-2:, 2] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_labels_with_one_example_each_are_predicted():
    probabilities, _ = out_of_sample(np.eye(2, dtype=np.float32), np.asarray([0, 1]), 2)
    np.testing.assert_array_equal(probabilities, [[0, 1], [1, 0]])
