"""Explained values: log-odds of labels, numbers, and log-odds of tags."""

import numpy as np
import pytest
import tensorflow as tf
from support.untrained import untrained_run

from tfbert.tasks.base_explained import ExplainedTags, ExplainedTexts, Target

SCORES = tf.constant([[1.0, 2.0, 4.0], [3.0, 0.0, -1.0]])


def values(explained, label_ids, scores=SCORES, copies=(0, 1)):
    return explained.values(scores, tf.constant(copies), Target(tf.constant(label_ids))).numpy()


def test_log_odds_of_one_of_several_labels():
    probabilities = tf.nn.softmax(SCORES).numpy()[[0, 1], [2, 1]]
    expected = np.log(probabilities / (1 - probabilities))
    assert values(ExplainedTexts("abc", "softmax"), [2, 1]) == pytest.approx(expected, abs=1e-5)


def test_log_odds_of_a_label_apart_from_others_and_numbers():
    assert values(ExplainedTexts("abc", "sigmoid"), [2, 1]).tolist() == [4, 0]
    assert values(ExplainedTexts(["value"], "number", scale=2.5), [0, 0]).tolist() == [2.5, 7.5]


@pytest.mark.parametrize(("combine", "expected"), [("mean", 1.5), ("max", 4.0)])
def test_windows_of_a_text_are_combined(combine, expected):
    assert values(ExplainedTexts("abc", "sigmoid", combine), [2], copies=(0, 0)).tolist() == [expected]


def test_the_predicted_label_is_the_default():
    sequences = untrained_run("classification").task.sequences(
        {"text": tf.constant(["a", "b"])}, untrained_run("classification").predictor.preprocessor
    )
    target = ExplainedTexts("abc", "softmax").target(SCORES, sequences, tf.constant([-1, 1]))
    assert target.label_ids.numpy().tolist() == [2, 1] and target.sequences is None


def test_log_odds_of_tags_at_a_token():
    # O, B-a, I-a, B-b, I-b at three positions, for copies in another order.
    scores = tf.constant(np.random.default_rng(0).normal(size=(2, 3, 5)), tf.float32)
    target = Target(tf.constant([1, 0]), None, tf.constant([2, 1]))
    outputs = ExplainedTags("ab", "continues").values(scores, tf.constant([1, 0]), target).numpy()
    for copy, (row, position, tags) in enumerate([(1, 2, [3, 4]), (0, 1, [1, 2])]):
        probability = tf.nn.softmax(scores[row, position]).numpy()[tags].sum()
        assert outputs[copy] == pytest.approx(np.log(probability / (1 - probability)), abs=1e-5)
