"""Decision of answers: the confidence is that of the best span, the threshold depends on validation alone."""

import numpy as np
import tensorflow as tf

from tfbert.evaluation.answers import Gold
from tfbert.tasks.base_answer_decision import AnswerDecision
from tfbert.tasks.base_decision import Predicted


def predictions(number, seed):
    """Return best spans that are right in half of the cases, whatever their probability."""
    rng = np.random.default_rng(seed)
    is_right, probabilities = rng.random(number) < 0.5, rng.uniform(0.6, 1, number).astype(np.float32)
    outputs = {
        "answer": np.array([[b"yes" if right else b"no"] for right in is_right], object),
        "probability": probabilities[:, None],
        "no_answer_margin": np.float32(rng.normal(size=number)),
    }
    return Predicted(outputs, [Gold("question?", ("yes",), ())] * number)


def test_calibration_concerns_the_confidence_and_validation_the_threshold():
    decision = AnswerDecision(has_unanswerable=True)
    validation, calibration = predictions(80, 0), predictions(400, 1)
    alone, both = (
        decision.fit({"validation": validation}),
        decision.fit({"validation": validation, "calibration": calibration}),
    )
    assert alone["threshold"] == both["threshold"]
    served = decision.apply({n: tf.constant(v) for n, v in calibration.outputs.items()}, both)
    assert abs(float(tf.reduce_mean(served["probability"])) - 0.5) < 0.06
    assert "log-odds" in decision.describe(both) and "log-odds" not in decision.describe(alone)


def test_a_question_without_answer_makes_every_span_wrong():
    decision = AnswerDecision(has_unanswerable=True)
    right = predictions(200, 2)
    outputs = right.outputs | {"answer": np.array([[b"yes"]] * 200, object)}
    gold = [Gold("question?", ("yes",) if index % 2 else (), ()) for index in range(200)]
    decided = decision.fit({"calibration": Predicted(outputs, gold)})
    served = decision.apply({n: tf.constant(v) for n, v in outputs.items()}, decided)
    assert abs(float(tf.reduce_mean(served["probability"])) - 0.5) < 0.05
