"""Search spaces: conversion to and from JSON, and rejection of what the config does not accept."""

import json

import pytest

from tfbert.config import Config, override
from tfbert.space import (
    COMMON,
    Choice,
    LogRange,
    Range,
    When,
    active_values,
    apply_space_options,
    check_space,
    read_space,
    space_from_json,
    space_options,
    space_to_json,
)

ALL_KINDS = {
    "train.learning_rate": LogRange(1e-5, 3e-4),
    "train.epochs": Choice(2, 3, None),
    "train.warmup_fraction": Range(0.0, 0.2),
    "train.patience_epochs": Range(1, 4),
    "train.optimizer": Choice("adamw", "lamb"),
    "train.weight_decay": When("train.optimizer", ("adamw",), LogRange(1e-4, 1e-1)),
}


def test_every_kind_of_dimension_survives_json():
    check_space(ALL_KINDS, Config())
    assert space_from_json(json.loads(json.dumps(space_to_json(ALL_KINDS)))) == ALL_KINDS


@pytest.mark.parametrize(("space", "base"), [(ALL_KINDS, COMMON), (COMMON, ALL_KINDS), (COMMON, COMMON)])
def test_options_make_a_space_of_another(space, base):
    options = [f"{path}={value}" for path, value in space_options(space, base).items()]
    assert apply_space_options(options, base) == (space, [])
    assert bool(options) == (space != base)


def test_a_space_is_read_from_a_file(tmp_path):
    path = tmp_path / "space.json"
    path.write_text('{"train.epochs": [2, 3], "train.learning_rate": {"log_range": [1e-5, 1e-3]}}')
    assert read_space(path) == {"train.epochs": Choice(2, 3), "train.learning_rate": LogRange(1e-5, 1e-3)}
    path.write_text("[1]")
    with pytest.raises(ValueError, match=r"space\.json: is a list; expected a JSON object$"):
        read_space(path)
    path.write_text('{"train.epochs": 3}')
    with pytest.raises(ValueError, match=r"space\.json: train\.epochs=3: expected \[value, value, \.\.\.\], "):
        read_space(path)


@pytest.mark.parametrize(
    "value",
    [3, {"range": [1]}, {"range": 1}, {"between": [1, 2]}, {"when": 1, "is": [1, 2]}, {"when": {"a": 1}, "is": [1, 2]}]
    + [{"when": {"a": [1], "b": [1]}, "is": [1, 2]}, {"when": {"a": [1]}, "is": {"when": {"b": [1]}, "is": [1, 2]}}],
)
def test_a_value_that_is_not_a_dimension_is_rejected(value):
    with pytest.raises(ValueError, match=r"^search space: train\.epochs=.*: expected \[value"):
        space_from_json({"train.epochs": value})


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, r"is empty; expected at least one config path"),
        (
            {"train.learing_rate": Choice(1, 2)},
            r"'train\.learing_rate'; did you mean 'train\.learning_rate'\?",
        ),
        ({"train.epochs": Choice(2)}, r"train\.epochs=\[2\]: expected two or more different values"),
        ({"train.epochs": Choice(2, 2)}, r"expected two or more different values"),
        ({"train.epochs": Choice(2, "three")}, r"train\.epochs='three': expected"),
        ({"train.optimizer": Choice("adamw", "adam")}, r"train\.optimizer='adam': expected adamw, lamb or adafactor"),
        ({"encoder.dropout": Range(0.0, 1.0)}, r"encoder\.dropout=1\.0: expected 0 or more, below 1"),
        ({"train.epochs": Range(1.5, 3)}, r"train\.epochs=1\.5: expected"),
        ({"train.learning_rate": Range(2e-4, 1e-4)}, r"expected two numbers, the smaller one first"),
        ({"train.learning_rate": Range("a", "b")}, r"expected two numbers"),
        ({"train.weight_decay": LogRange(0.0, 1.0)}, r"expected two numbers above 0"),
        (
            {"train.weight_decay": When("train.optimiser", ("lamb",), Choice(0.0, 0.1))},
            r"did you mean 'train\.optimizer'",
        ),
        ({"train.weight_decay": When("train.optimizer", (), Choice(0.0, 0.1))}, r"at least one value of the other"),
        ({"train.weight_decay": When("train.optimizer", ("lamb",), Choice(0.0, 0.1))}, r"always in \['adamw'\]"),
        ({"train.weight_decay": When("train.optimizer", ("x",), Choice(0.0, 0.1))}, r"train\.optimizer='x': expected"),
        (
            {
                "train.epochs": When("train.seed", (0,), Choice(1, 2)),
                "train.seed": When("train.optimizer", ("adamw",), Choice(0, 1)),
            },
            r"train\.epochs depends on train\.seed, which itself depends on another field",
        ),
    ],
)
def test_a_space_that_the_config_does_not_accept_is_rejected(space, words):
    with pytest.raises(ValueError, match=f"search space.*{words}"):
        check_space(space, Config())


def test_conditional_values_are_active_only_if_their_condition_holds():
    values = {"train.optimizer": "adamw", "train.weight_decay": 0.01, "train.epochs": 3}
    assert active_values(ALL_KINDS, values, Config()) == values
    without = {"train.optimizer": "lamb", "train.epochs": 3}
    assert active_values(ALL_KINDS, {**values, "train.optimizer": "lamb"}, Config()) == without
    # If the other field is not searched, its value comes from the config.
    space = {"train.weight_decay": When("train.optimizer", ("lamb",), Choice(0.0, 0.1))}
    assert active_values(space, {"train.weight_decay": 0.1}, Config()) == {}
    searched = override(Config(), {"train.optimizer": "lamb"})
    check_space(space, searched)
    assert active_values(space, {"train.weight_decay": 0.1}, searched) == {"train.weight_decay": 0.1}


def test_the_common_space_fits_the_default_config():
    check_space(COMMON, Config())
