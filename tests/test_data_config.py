"""The section `data` of the config: bounds of its fields, and fields that contradict each other."""

import re

import pytest

from tfbert.data_config import DataConfig

FRACTION = "0 or more, below 1"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"validation_fraction": -0.1}, f"data.validation_fraction=-0.1: expected {FRACTION}"),
        ({"test_fraction": 1.0}, f"data.test_fraction=1.0: expected {FRACTION}"),
        ({"max_unknown_fraction": -0.1}, "data.max_unknown_fraction=-0.1: expected 0 to 1"),
        ({"max_unknown_fraction": 1.1}, "data.max_unknown_fraction=1.1: expected 0 to 1"),
        (
            {"validation_fraction": 0.5, "test_fraction": 0.5},
            "data.validation_fraction=0.5 and data.test_fraction=0.5 leave nothing to train on; expected a sum below 1",
        ),
        ({"separator": ""}, "data.separator is empty; expected at least one character, such as '\\t' or '@'"),
    ],
)
def test_invalid_values_are_rejected(values, message):
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        DataConfig(**values)


def test_fractions_that_leave_training_records_are_accepted():
    assert DataConfig(validation_fraction=0.5, test_fraction=0.4, max_unknown_fraction=1.0).separator == "\t"
