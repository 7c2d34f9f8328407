"""The section `decision` of the config: bounds of its fields."""

import pytest

from tfbert.decision_config import DecisionConfig


@pytest.mark.parametrize("name", ["coverage", "max_error"])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, float("nan")])
def test_fractions_that_no_model_can_have_are_rejected(name, value):
    with pytest.raises(ValueError, match=f"^decision.{name}={value}: expected more than 0, below 1$"):
        DecisionConfig(**{name: value})


def test_a_negative_number_of_examples_is_rejected():
    with pytest.raises(ValueError, match=r"^decision.evidence=-1: expected 0 or more$"):
        DecisionConfig(evidence=-1)


def test_sets_and_abstention_are_off_by_default():
    config = DecisionConfig()
    assert (config.coverage, config.max_error, config.out_of_domain) == (None, None, "auto")
    assert DecisionConfig(coverage=0.9, max_error=0.02).coverage == 0.9
