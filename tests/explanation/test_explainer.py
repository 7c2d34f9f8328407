"""Explanations of a run and of its SavedModel: by both methods, for any label, of texts, pairs and entities."""

import numpy as np
import pytest
import tensorflow as tf
from support import small
from support.untrained import untrained_run

from tfbert.explanation.explainer import Explainer
from tfbert.models import evidence
from tfbert.models.predictor import assign
from tfbert.serving.saved_predictor import SavedPredictor
from tfbert.tasks.base_outputs import EXPLANATION

ITEMS = [{"text": "my card, please!"}, {"text": ""}, {"text": "the loan 价格"}]


def test_outputs_are_declared_and_padded(explainer):
    outputs = explainer(ITEMS)
    declared = {output.name: output for output in EXPLANATION if output.name != "evidence_pair"}
    assert outputs.keys() == declared.keys()
    assert all(outputs[name].ndim == 1 + output.is_list for name, output in declared.items())
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


@pytest.mark.parametrize(
    ("task", "values", "decided"),
    [
        ("classification", {}, {"temperature": 3.0}),
        ("classification", {"encoder__long_text": "max"}, {"temperature": 0.4}),
        ("multilabel", {"encoder__long_text": "mean"}, {"slopes": [0.5, 2, 3, 0.1], "intercepts": [-1, 1, 0, 4]}),
    ],
)
def test_the_log_odds_are_those_of_the_calibrated_probability(task, values, decided):
    predictor = untrained_run(task, **values).predictor
    before = predictor.decided_values()
    assign(predictor.decided, {name: np.float32(np.resize(v, before[name].shape)) for name, v in decided.items()})
    try:
        probabilities = predictor(ITEMS)["probabilities"].astype(np.float64)
        odds = np.log(probabilities) - np.log1p(-probabilities)
        explainer = Explainer(predictor, run_eagerly=True)
        given = explainer(ITEMS[:2], predictor.task.labels[-1])
        np.testing.assert_allclose(given["log_odds"], odds[:2, -1], rtol=1e-3, atol=1e-4)
        predicted = explainer(ITEMS, method="gradients")
        np.testing.assert_allclose(predicted["log_odds"], odds.max(axis=1), rtol=1e-3, atol=1e-4)
        assert predicted["gap"].max() < 0.05
    finally:
        assign(predictor.decided, before)


def test_a_training_text_is_its_own_evidence(explainer, predictor):
    texts, labels = (predictor.evidence[name].numpy().tolist() for name in ("evidence_texts", "evidence_labels"))
    assert len(texts) == len(set(texts)) == 48
    outputs = explainer([{"text": texts[7].decode()}, {"text": ""}])
    assert outputs["evidence"].shape == (2, 5)
    assert outputs["evidence"][0, 0] == texts[7] and outputs["evidence_label"][0, 0] == labels[7]
    similarity = outputs["evidence_similarity"]
    assert similarity[0, 0] == pytest.approx(1, abs=1e-3) and (np.diff(similarity) <= 0).all()


@pytest.mark.parametrize(("task", "values"), [("entities", {}), ("classification", {"encoder__long_text": "mean"})])
def test_vectors_of_explained_texts_are_those_of_the_predictor(task, values):
    predictor = untrained_run(task, **values).predictor
    items = [{"text": "please send the invoices to London today " * 9}, {"text": "my card"}, {"text": ""}]
    stored = evidence.values(predictor.vectors(items), [(item["text"],) for item in items], ["a", "b", "c"])
    before = {name: variable.numpy() for name, variable in predictor.evidence.items()}
    assert "evidence" not in Explainer(predictor, run_eagerly=True)(items[:1])
    assign(predictor.evidence, stored)
    try:
        outputs = Explainer(predictor, run_eagerly=True)(items)
        assert outputs["evidence_label"][:2, 0].tolist() == [b"a", b"b"] and outputs["evidence"].shape == (3, 3)
        np.testing.assert_allclose(outputs["evidence_similarity"][:2, 0], 1, atol=1e-3)
    finally:
        assign(predictor.evidence, before)


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
