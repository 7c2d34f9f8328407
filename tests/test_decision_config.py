"""The section `decision` of the config: bounds of its fields."""

import re

import pytest

from tfbert.decision_config import DecisionConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"coverage": 0.0}, "decision.coverage=0.0: expected more than 0, below 1"),
        ({"coverage": 1.0}, "decision.coverage=1.0: expected more than 0, below 1"),
        ({"max_error": 1.0}, "decision.max_error=1.0: expected more than 0, below 1"),
        ({"evidence": -1}, "decision.evidence=-1: expected 0 or more"),
    ],
)
def test_invalid_values_are_rejected(values, message):
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        DecisionConfig(**values)


def test_values_within_the_bounds_are_accepted():
    assert DecisionConfig(coverage=0.9, max_error=0.02, evidence=0).out_of_domain == "auto"
