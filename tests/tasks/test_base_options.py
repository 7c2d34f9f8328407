"""Options of a task: values and defaults from config paths, and paths that apply to all tasks."""

from dataclasses import dataclass

import pytest

from tfbert.config import Config, override
from tfbert.tasks.base_options import LearnedHeadOptions, Options, option


@dataclass(frozen=True, kw_only=True)
class ToyOptions(LearnedHeadOptions):
    smoothing: float = option("train.label_smoothing")
    length: int = option("encoder.sequence_length", is_common=True)

    def check(self) -> None:
        if self.smoothing and self.dropout:
            raise ValueError("smoothing beside dropout")


def test_defaults_are_those_of_the_config():
    config = Config()
    assert ToyOptions() == ToyOptions.from_config(override(config, {"head.dropout": ToyOptions.dropout}))
    assert (ToyOptions.smoothing, ToyOptions.length) == (config.train.label_smoothing, config.encoder.sequence_length)


def test_values_come_from_the_paths():
    values = {"train.label_smoothing": 0.25, "encoder.sequence_length": 77, "head.dropout": 0.0}
    values |= {"train.part_tokens": 5, "train.head_learning_rate_factor": 3.0}
    assert ToyOptions.from_config(override(Config(), values)) == ToyOptions(
        smoothing=0.25, length=77, dropout=0.0, part_tokens=5, head_learning_rate_factor=3.0
    )


def test_options_that_contradict_each_other_are_rejected():
    with pytest.raises(ValueError, match="smoothing beside dropout"):
        ToyOptions.from_config(override(Config(), {"train.label_smoothing": 0.1}))


def test_paths_of_options():
    learned = {
        "dropout": "head.dropout",
        "part_tokens": "train.part_tokens",
        "head_learning_rate_factor": "train.head_learning_rate_factor",
    }
    own = learned | {"smoothing": "train.label_smoothing"}
    assert ToyOptions.paths() == own | {"length": "encoder.sequence_length"}
    # An option that applies to all tasks is never rejected.
    assert ToyOptions.own_paths() == set(own.values())
    assert Options.paths() == {} and Options.own_paths() == set()
