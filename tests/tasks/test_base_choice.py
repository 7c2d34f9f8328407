"""Choice decisions: calibrated probabilities, sets and abstention, in the graph as in NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tfbert.calibration.prediction_sets import fit_set_threshold
from tfbert.tasks.base_choice import NO_ANSWER_LOGIT, ChoiceDecision, ChoiceOptions
from tfbert.tasks.base_decision import Predicted

OPTIONS = ChoiceOptions(coverage=0.8, max_error=0.3)


def predictions(number, seed=0, sharpness=2.0, **outputs):
    """Return overconfident logits of three answers, and labels drawn from a softer softmax."""
    rng = np.random.default_rng(seed)
    soft = rng.normal(size=(number, 3)) * 1.5
    probabilities = np.exp(soft) / np.exp(soft).sum(-1, keepdims=True)
    gold = np.array([rng.choice(3, p=row) for row in probabilities])
    return Predicted({"logits": (sharpness * soft).astype(np.float32), **outputs}, gold)


def apply(decision, decided, predicted):
    outputs = {name: tf.constant(value) for name, value in predicted.outputs.items()}
    return {name: value.numpy() for name, value in decision.apply(outputs, decided).items()}


def test_decisions_without_calibration_change_nothing_and_promise_nothing():
    decision, records = ChoiceDecision(OPTIONS), predictions(20)
    decided = decision.fit({"validation": records})
    served = apply(decision, decided, records)
    np.testing.assert_allclose(served["probabilities"], tf.nn.softmax(records.outputs["logits"]), atol=1e-6)
    assert served["abstain"].all() and (served["set_size"] == 3).all()


def test_probabilities_are_calibrated_and_the_prediction_stays():
    decision, records = ChoiceDecision(ChoiceOptions()), predictions(2000)
    decided = decision.fit({"calibration": records})
    assert float(decided["temperature"]) == pytest.approx(2, rel=0.15) and decided.keys() == {"temperature"}
    served = apply(decision, decided, predictions(500, seed=1))
    assert served.keys() == {"probability", "probabilities"}
    expected = predictions(500, seed=1).outputs["logits"].argmax(-1)
    np.testing.assert_array_equal(served["probabilities"].argmax(-1), expected)


def test_sets_have_the_answers_above_the_threshold_in_order():
    decision, calibration, new = ChoiceDecision(OPTIONS), predictions(300), predictions(400, seed=2)
    decided = decision.fit({"calibration": calibration})
    scaled = calibration.outputs["logits"] / decided["temperature"]
    assert decided["set_threshold"] == np.float32(
        fit_set_threshold(tf.nn.softmax(scaled).numpy(), calibration.gold, 0.8)
    )
    served = apply(decision, decided, new)
    for ids, size, row in zip(served["set_ids"], served["set_size"], served["probabilities"], strict=True):
        order = np.argsort(-row, kind="stable")
        expected = [answer for answer in order if row[answer] >= decided["set_threshold"]] or [order[0]]
        assert ids[:size].tolist() == expected and (ids[size:] == -1).all()
    is_covered = [gold in ids for gold, ids in zip(new.gold, served["set_ids"], strict=True)]
    assert np.mean(is_covered) == pytest.approx(0.8, abs=0.06)


def test_the_model_abstains_below_the_threshold_and_out_of_domain():
    decision = ChoiceDecision(OPTIONS)
    p_values = np.linspace(0, 1, 400, dtype=np.float32)
    decided = decision.fit({"calibration": predictions(400, out_of_domain=p_values)})
    new = predictions(3000, seed=3, out_of_domain=np.tile(np.float32([0.04, 0.06, 1]), 1000))
    served = apply(decision, decided, new)
    expected = (served["probability"] < decided["confidence_threshold"]) | (new.outputs["out_of_domain"] < 0.05)
    np.testing.assert_array_equal(served["abstain"], expected)
    is_used = ~served["abstain"]
    is_wrong = new.outputs["logits"].argmax(-1) != new.gold
    assert 0.3 < is_used.mean() < 0.67 and is_wrong[is_used].mean() <= 0.3
    assert decision.limitation({"calibration": predictions(400, out_of_domain=p_values)}) == ""


def test_an_error_that_cannot_be_shown_is_explained():
    decision = ChoiceDecision(replace(OPTIONS, max_error=0.01))
    splits = {"calibration": predictions(100)}
    assert decision.fit(splits)["confidence_threshold"] == np.inf
    message = decision.limitation(splits)
    assert message.startswith("decision.max_error=0.01: no threshold satisfies it with 100 calibration records")
    assert "390 of them are enough" in message


def test_answers_that_do_not_exist_have_probability_0_and_are_in_no_set():
    decision, logits = ChoiceDecision(OPTIONS), np.float32([[1, NO_ANSWER_LOGIT, 0.5], [NO_ANSWER_LOGIT] * 3])
    decided = decision.initial() | {"temperature": np.float32(0.5)}
    served = apply(decision, decided, Predicted({"logits": logits}, [0, 0]))
    assert served["probabilities"][:, 1].tolist() == [0, 0] and served["probability"][1] == 0
    assert served["set_ids"].tolist() == [[0, 2], [-1, -1]] and served["set_size"].tolist() == [2, 0]


def test_the_description_names_what_is_fitted():
    decision = ChoiceDecision(OPTIONS)
    text = decision.describe(decision.fit({"calibration": predictions(300)}))
    assert "before the softmax" in text and "sets of answers" in text and "abstention below" in text
