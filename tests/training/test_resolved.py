"""Resolved settings: what a fine-tuning uses where its config has none."""

import tensorflow as tf

from tfbert.config import override
from tfbert.training.resolved import resolved_settings

_NONE = {"train.epochs": None, "train.learning_rate": None, "train.monitor": None, "train.part_tokens": None}


def test_fields_that_are_none_have_the_value_in_use(base_problem, monkeypatch):
    config = override(base_problem.config, _NONE)
    expected = {"train.epochs": 5, "train.learning_rate": 2e-4, "train.monitor": "accuracy", "train.part_tokens": 2048}
    assert resolved_settings(base_problem, config) == expected
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"])
    assert resolved_settings(base_problem, config) == expected | {"train.part_tokens": 0}
    chosen = override(config, {"train.epochs": 2, "train.part_tokens": 100, "train.monitor": "loss"})
    assert resolved_settings(base_problem, chosen) == {"train.learning_rate": 2e-4}
