"""What decisions do unless a task says otherwise."""

import numpy as np

from tfbert.tasks.base_decision import VALIDATION, Decision, Predicted


class Threshold(Decision):
    """The mean of the scores as a threshold."""

    specs = {}

    def initial(self):
        return {"threshold": np.float32(0)}

    def fit(self, splits):
        return {"threshold": splits[VALIDATION].outputs["score"].mean()} if VALIDATION in splits else self.initial()

    def describe(self, decided):
        return f"scores from {decided['threshold']}"

    def apply(self, outputs, decided):
        return {"is_high": outputs["score"] >= decided["threshold"]}


def test_a_decision_is_fitted_to_validation_and_guarantees_nothing():
    decision, predicted = Threshold(), Predicted({"score": np.array([1.0, 2.0, 6.0])}, [0, 0, 1])
    assert decision.fitted_to == (VALIDATION,) and not decision.fitted_every_epoch
    decided = decision.fit({VALIDATION: predicted})
    assert decision.apply(predicted.outputs, decided)["is_high"].tolist() == [False, False, True]
    assert decision.covered(predicted.outputs, predicted.gold) is None
    assert decision.limitation({VALIDATION: predicted}) == ""
    assert decision.calibrate(predicted.outputs["score"], decided) is predicted.outputs["score"]
