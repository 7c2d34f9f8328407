"""Explanations of a run and of its SavedModel: by both methods, for any label, of texts, pairs and entities."""

import numpy as np
import pytest
import tensorflow as tf
from support import small

from tfbert.explanation.explainer import Explainer
from tfbert.serving.saved_predictor import SavedPredictor
from tfbert.tasks.base_outputs import EXPLANATION

ITEMS = [{"text": "my card, please!"}, {"text": ""}, {"text": "the loan 价格"}]


def test_outputs_are_declared_and_padded(explainer):
    outputs = explainer(ITEMS)
    assert outputs.keys() == {output.name for output in EXPLANATION}
    for output in EXPLANATION:
        assert outputs[output.name].ndim == 1 + output.is_list
    assert [[word.decode() for word in words] for words in outputs["word"]] == [
        ["my", "card", ",", "please", "!"],
        [""] * 5,
        ["the", "loan", "价", "格", ""],
    ]
    assert outputs["start"][2].tolist() == [0, 4, 9, 10, -1] and outputs["end"][2].tolist() == [3, 8, 10, 11, -1]
    assert set(outputs["input"][0].tolist()) == {b"text"} and outputs["contribution"][1].tolist() == [0.0] * 5
    assert outputs["method"].tolist() == [b"occlusion"] * 3 and outputs["gap"].tolist() == [-1.0] * 3
    assert outputs["explained_word"].tolist() == [-1] * 3


def test_the_log_odds_are_those_of_the_prediction(explainer, predictor):
    outputs, predictions = explainer(ITEMS), predictor(ITEMS)
    assert outputs["explained_label"].tolist() == predictions["label"].tolist()
    odds = np.log(predictions["probability"] / (1 - predictions["probability"]))
    np.testing.assert_allclose(outputs["log_odds"], odds, atol=1e-3)
    given = explainer(ITEMS, label="fee")
    probability = predictions["probabilities"][:, 1]
    np.testing.assert_allclose(given["log_odds"], np.log(probability / (1 - probability)), atol=1e-3)
    assert given["explained_label"].tolist() == [b"fee"] * 3


def test_integrated_gradients_add_up(explainer):
    outputs = explainer(ITEMS, method="gradients")
    assert (outputs["gap"] >= 0).all() and outputs["gap"].max() < 0.05
    assert outputs["method"].tolist() == [b"gradients"] * 3
    assert np.abs(outputs["contribution"][0]).min() > 0


def test_long_texts_are_explained_by_gradients_and_cut_words_contribute_nothing(explainer):
    outputs = explainer([{"text": " ".join(["good"] * 65)}, {"text": "my card"}])
    assert outputs["method"].tolist() == [b"gradients", b"occlusion"]
    # 32 tokens with [CLS] and [SEP] leave room for 30.
    contributions = outputs["contribution"][0]
    assert np.count_nonzero(contributions[:30]) == 30 and not contributions[30:].any()


@pytest.mark.parametrize(
    ("values", "message"),
    [({"label": "x"}, "label must be one of the labels"), ({"method": "x"}, "method must be occlusion or gradients")],
)
def test_unknown_labels_and_methods_are_refused(explainer, values, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        explainer(ITEMS, **values)


def test_a_saved_model_explains_like_the_run(explainer):
    saved = SavedPredictor(small.finished_run()[1])
    for label, method in (("", ""), ("fee", "gradients")):
        pairs = zip(saved.explain(ITEMS, label, method), explainer.explain(ITEMS, label, method), strict=True)
        for (item, explanation), (_, expected) in pairs:
            assert item in ITEMS and explanation["word"] == expected["word"]
            assert explanation["contribution"] == pytest.approx(expected["contribution"], abs=1e-4)
    empty = saved._model.signatures["explain"](**dict.fromkeys(("text", "label", "method"), tf.zeros([0], tf.string)))
    assert empty["word"].shape == (0, 1)


def test_a_task_without_explanations_is_refused(predictor):
    class Other:
        task = type("Task", (), {"explained": None, "name": "matching"})

    with pytest.raises(ValueError, match="models of the task matching have no explanations"):
        Explainer(Other())
