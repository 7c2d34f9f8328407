"""Values of config fields: parsed from command-line text or checked after reading JSON, by the field's annotation."""

import shlex
from typing import Literal

import pytest

from tfbert.config import Config, parse_assignments, paths, value_at
from tfbert.fields import as_typed, check_value, differing_values, flatten, parse_value
from tfbert.pretraining.config import PretrainConfig

Choice = Literal["adamw", "lamb"]
NAMES = tuple[str, ...]


def rejected(function, *args):
    with pytest.raises(ValueError) as caught:
        function(*args)
    return str(caught.value)


def test_a_tree_becomes_dotted_paths():
    tree = {"train": {"epochs": 3, "ema": {"momentum": None}}, "task": "answers", "empty": {}}
    assert dict(flatten(tree)) == {"train.epochs": 3, "train.ema.momentum": None, "task": "answers"}


def test_values_that_differ():
    first = {"train": {"epochs": 3, "seed": 0, "monitor": None}, "task": "answers"}
    second = {"train": {"epochs": 5, "seed": 0, "monitor": "f1"}, "task": "answers", "prepared": " "}
    assert differing_values([first, second, first]) == [
        ("train.epochs", ["3", "5", "3"]),
        ("train.monitor", ["none", "f1", "none"]),
        ("prepared", ["–", "' '", "–"]),
    ]


@pytest.mark.parametrize(
    ("text", "hint", "expected"),
    [
        ("3", int, 3),
        ("-3", int | None, -3),
        ("2e-4", float, 2e-4),
        ("3", float, 3.0),
        ("none", int | None, None),
        ("", float | None, None),
        ("null", str | None, None),
        ("none", str, "none"),
        ("TRUE", bool, True),
        ("false", bool | None, False),
        ("a\\tb", str, "a\tb"),
        ("lamb", Choice, "lamb"),
        ("a,,b", NAMES, ("a", "b")),
        ("", NAMES, ()),
        ("5", int | Literal["auto"], 5),
        ("auto", int | Literal["auto"], "auto"),
    ],
)
def test_text_is_parsed_by_the_type_of_the_field(text, hint, expected):
    value_read = parse_value("x.y", text, hint)
    assert value_read == expected and type(value_read) is type(expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b", "a b"),
        (" a", "' a'"),
        ("a\tb", r"'a\tb'"),
        ("", "''"),
        (3, "3"),
        (0.000123456, "0.000123456"),
        (True, "true"),
        (False, "false"),
        (None, "none"),
        (("a", "ä"), "a,ä"),
        ((), "''"),
        (["ä", 1], '["ä", 1]'),
    ],
)
def test_values_are_written_as_they_are_typed(value, text):
    assert as_typed(value) == text


@pytest.mark.parametrize("root", [Config, PretrainConfig])
def test_a_printed_default_can_be_typed(root):
    for path in paths(root):
        default = value_at(root(), path)
        (assignment,) = shlex.split(f"{path}={as_typed(default)}")
        assert parse_assignments([assignment], root) == {path: default}


@pytest.mark.parametrize(
    ("text", "hint", "type_name"),
    [
        ("three", int, "a whole number"),
        ("1.5", int, "a whole number"),
        ("", float, "a number"),
        ("yes", bool, "true or false"),
        ("x", int | None, "a whole number or none"),
    ],
)
def test_text_of_another_type_is_rejected(text, hint, type_name):
    assert rejected(parse_value, "x.y", text, hint) == f"x.y={text}: expected {type_name}"


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (3, int, 3),
        (3, float, 3.0),
        (None, int | None, None),
        (True, bool, True),
        ("lamb", Choice, "lamb"),
        (["a", "b"], NAMES, ("a", "b")),
        ([], NAMES, ()),
        ("a", str | None, "a"),
    ],
)
def test_json_values_get_the_type_of_the_field(value, hint, expected):
    value_read = check_value("x.y", value, hint)
    assert value_read == expected and type(value_read) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint", "type_name"),
    [
        (True, int, "a whole number"),
        (3.0, int, "a whole number"),
        (float("inf"), float, "a number"),
        (float("nan"), float | None, "a number or none"),
        (True, float, "a number"),
        (None, str, "text"),
        ("sgd", Choice, "adamw or lamb"),
        (["a", 3], NAMES, "texts separated by commas"),
        ("a", NAMES, "texts separated by commas"),
    ],
)
def test_json_values_of_another_type_are_rejected(value, hint, type_name):
    assert rejected(check_value, "x.y", value, hint) == f"x.y={value!r}: expected {type_name}"
