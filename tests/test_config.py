"""The config: every field survives overrides, JSON and assignments, and errors name the path."""

import dataclasses
import json
import typing
from typing import Any

import pytest

from tfbert.config import Config, DataConfig, TrainConfig, from_dict, override, parse_assignments, paths

DEFAULTS = Config()


def value_at(config: Config, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name)
    return config


# Values of fields whose default plus one is out of range.
MOVED = {"train.layer_decay": 0.75, "train.seed": 2**31 - 1}


def other_value(path: str) -> Any:
    """Return a value that the field accepts and that is not its default."""
    default, hint = value_at(DEFAULTS, path), paths()[path]
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)[-1]
    kind = next(kind for kind in (*typing.get_args(hint), hint) if kind is not type(None))
    if kind is str:
        return f"{default} \t=.{path}é"
    if kind is bool:
        return not default
    return MOVED.get(path, (default or 0) + (7 if kind is int else 0.0625))


PATHS = list(paths())
OTHERS = {path: other_value(path) for path in PATHS}


def as_text(value: Any) -> str:
    return value.replace("\t", "\\t") if isinstance(value, str) else repr(value)


def message(function, *arguments) -> str:
    with pytest.raises(ValueError) as caught:
        function(*arguments)
    return str(caught.value)


def test_paths_lists_every_field_in_the_order_of_definition():
    sections = {"data": DataConfig, "train": TrainConfig}
    for section, node in sections.items():
        expected = [f"{section}.{field.name}" for field in dataclasses.fields(node)]
        assert [path for path in PATHS if path.startswith(f"{section}.")] == expected
    assert PATHS[0] == "task"
    assert len(PATHS) == sum(len(values) if isinstance(values, dict) else 1 for values in DEFAULTS.to_dict().values())


@pytest.mark.parametrize("path", PATHS)
def test_a_value_survives_override_json_and_assignment(path):
    changed = override(DEFAULTS, {path: OTHERS[path]})
    assert value_at(changed, path) == OTHERS[path]
    assert [other for other in PATHS if value_at(changed, other) != value_at(DEFAULTS, other)] == [
        other for other in PATHS if other == path
    ]
    assert from_dict(json.loads(json.dumps(changed.to_dict()))) == changed
    assert override(DEFAULTS, parse_assignments([f"{path}={as_text(OTHERS[path])}"])) == changed


def test_all_values_survive_together():
    changed = override(DEFAULTS, OTHERS)
    assert {path: value_at(changed, path) for path in PATHS} == OTHERS
    text = json.dumps(changed.to_dict())
    assert from_dict(json.loads(text)) == changed
    assert json.dumps(from_dict(json.loads(text)).to_dict()) == text
    assert override(DEFAULTS, parse_assignments(f"{path}={as_text(OTHERS[path])}" for path in PATHS)) == changed


def test_override_does_not_change_its_argument():
    before = DEFAULTS.to_dict()
    override(DEFAULTS, OTHERS)
    assert DEFAULTS.to_dict() == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULTS.train.epochs = 7


def test_fields_that_a_dict_lacks_have_their_defaults():
    assert from_dict({}) == DEFAULTS
    assert from_dict({"train": {"epochs": 9}}) == override(DEFAULTS, {"train.epochs": 9})


@pytest.mark.parametrize("path", PATHS)
def test_the_fingerprint_changes_with_every_field(path):
    fingerprint = override(DEFAULTS, {path: OTHERS[path]}).fingerprint()
    assert fingerprint != DEFAULTS.fingerprint()
    assert len(fingerprint) == 8 and int(fingerprint, 16) >= 0


def test_equal_configs_have_equal_fingerprints():
    changed = override(DEFAULTS, OTHERS)
    reordered = from_dict(dict(reversed(json.loads(json.dumps(changed.to_dict())).items())))
    assert reordered.fingerprint() == changed.fingerprint()
    # An int becomes a float, so that both spellings are the same run.
    assert override(DEFAULTS, {"train.weight_decay": 1}).fingerprint() == (
        override(DEFAULTS, {"train.weight_decay": 1.0}).fingerprint()
    )


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("train.learning_rat", "; did you mean 'train.learning_rate'?"),
        ("learning_rate", "; did you mean 'train.learning_rate'?"),
        ("seed", "; did you mean 'train.seed'?"),
        ("encoder.sequence_len", "; did you mean 'encoder.sequence_length'?"),
        ("Data.path", "; did you mean 'data.path'? (case and spaces matter)"),
        ("head.pooling.mean", "; did you mean 'head.pooling'?"),
        ("tasks", "; did you mean 'task'?"),
        ("gpu", ""),
    ],
)
def test_a_misspelt_path_names_a_similar_one(path, hint):
    expected = f"config has no field '{path}'{hint}"
    assert message(override, DEFAULTS, {path: "x"}) == expected
    assert message(override, DEFAULTS, parse_assignments([f"{path}=x"])) == expected
    tree: Any = "x"
    for name in reversed(path.split(".")):
        tree = {name: tree}
    assert message(from_dict, tree) == expected


WRONG_TYPES = [
    ("train.batch_size", 1.5, "a whole number"),
    ("train.batch_size", True, "a whole number"),
    ("train.batch_size", "3", "a whole number"),
    ("train.batch_size", None, "a whole number"),
    ("train.learning_rate", "1e-4", "a number or none"),
    ("train.learning_rate", False, "a number or none"),
    ("train.learning_rate", [1.0], "a number or none"),
    ("data.path", 5, "text or none"),
    ("data.separator", None, "text"),
    ("task", 3, "text"),
    ("train.learning_rate", float("inf"), "a number or none"),
    ("train.clip_norm", float("nan"), "a number"),
    ("head.pooling", "avg", "mean, max, cls or pooler"),
    ("head.pooling", None, "mean, max, cls or pooler"),
    ("head.pooling", ["mean"], "mean, max, cls or pooler"),
    ("train.optimizer", "adam", "adamw, lamb or adafactor"),
]


@pytest.mark.parametrize(("path", "value", "type_name"), WRONG_TYPES)
def test_a_wrong_type_is_rejected(path, value, type_name):
    expected = f"{path}={value!r}: expected {type_name}"
    assert message(override, DEFAULTS, {path: value}) == expected
    section, _, name = path.rpartition(".")
    assert message(from_dict, {section: {name: value}} if section else {name: value}) == expected


def test_a_value_for_a_section_and_a_section_for_a_value_are_rejected():
    expected = "config has no field 'train'; 'train' is a section, and 'train.seed' is a field of it"
    assert message(from_dict, {"train": 3}) == expected
    assert message(override, DEFAULTS, {"train": 3}) == expected
    assert message(override, DEFAULTS, {"train.batch_size": {}}) == "train.batch_size={}: expected a whole number"


FRACTION = "0 or more, below 1"
OUT_OF_RANGE = [
    ("encoder.sequence_length", 2, "3 or more tokens"),
    ("encoder.dropout", 1.0, FRACTION),
    ("head.dropout", -0.5, FRACTION),
    ("train.epochs", 0, "1 or more, or none"),
    ("train.batch_size", 0, "1 or more"),
    ("train.accumulation_steps", 0, "1 or more"),
    ("train.learning_rate", 0.0, "more than 0"),
    ("train.seed", -1, "0 to 2147483647"),
    ("train.seed", 2**31, "0 to 2147483647"),
    ("train.head_learning_rate_factor", 0.0, "more than 0"),
    ("train.layer_decay", 0.0, "more than 0, at most 1"),
    ("train.layer_decay", 1.5, "more than 0, at most 1"),
    ("train.warmup_fraction", 1.0, FRACTION),
    ("train.label_smoothing", -1.0, FRACTION),
    ("train.ema_momentum", 1.0, FRACTION),
    ("train.weight_decay", -0.01, "0 or more"),
    ("train.clip_norm", -1.0, "0 or more"),
    ("train.patience_epochs", -1, "0 or more"),
    ("train.averaged_epochs", -1, "0 or more"),
    ("train.trainable_layers", -1, "0 or more"),
    ("train.checkpoint_seconds", -1.0, "0 or more"),
]


@pytest.mark.parametrize(("path", "value", "bounds"), OUT_OF_RANGE)
def test_a_value_out_of_range_is_rejected(path, value, bounds):
    assert message(override, DEFAULTS, {path: value}) == f"{path}={value}: expected {bounds}"


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("data.separator=\\t", "data.separator", "\t"),
        ("data.separator=\t", "data.separator", "\t"),
        ("data.separator==", "data.separator", "="),
        ("data.separator= ", "data.separator", " "),
        ("data.path=a=b=c", "data.path", "a=b=c"),
        ("data.path=none", "data.path", None),
        ("data.path=None", "data.path", None),
        ("data.path=null", "data.path", None),
        ("data.path=", "data.path", None),
        ("data.path=nones", "data.path", "nones"),
        ("data.quoting=none", "data.quoting", "none"),
        ("train.class_weights=none", "train.class_weights", "none"),
        ("train.weight_decay=1", "train.weight_decay", 1.0),
        ("train.learning_rate=3e-5", "train.learning_rate", 3e-5),
        ("train.batch_size=12", "train.batch_size", 12),
        ("train.epochs=12", "train.epochs", 12),
        ("train.epochs=none", "train.epochs", None),
        (" train.batch_size = 12", "train.batch_size", 12),
    ],
)
def test_assignments_are_parsed_by_the_type_of_the_field(assignment, path, value):
    parsed = parse_assignments([assignment])
    assert parsed == {path: value} and type(parsed[path]) is type(value)
    assert value_at(override(DEFAULTS, parsed), path) == value


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("train.batch_size", "--set train.batch_size: expected section.field=value"),
        ("train.batch_size=", "train.batch_size=: expected a whole number"),
        ("train.batch_size=2.0", "train.batch_size=2.0: expected a whole number"),
        ("train.batch_size=none", "train.batch_size=none: expected a whole number"),
        ("train.batch_size=true", "train.batch_size=true: expected a whole number"),
        ("train.epochs=some", "train.epochs=some: expected a whole number or none"),
        ("train.learning_rate=fast", "train.learning_rate=fast: expected a number or none"),
    ],
)
def test_assignments_with_an_invalid_value_are_rejected(assignment, expected):
    assert message(parse_assignments, [assignment]) == expected


def test_the_last_of_two_assignments_to_a_path_wins():
    assert parse_assignments(["train.batch_size=2", "train.batch_size=3"]) == {"train.batch_size": 3}


def test_a_bool_field_is_parsed_and_checked(monkeypatch):
    # Optional bools and bools under other names, which the config does not have.
    monkeypatch.setattr("tfbert.config.paths", lambda root: {"train.fast": bool, "train.maybe": bool | None})
    parsed = parse_assignments(["train.fast=True", "train.maybe=none"])
    assert parsed == {"train.fast": True, "train.maybe": None}
    assert parse_assignments(["train.fast=false"]) == {"train.fast": False}
    assert message(parse_assignments, ["train.fast=1"]) == "train.fast=1: expected true or false"
    assert message(override, DEFAULTS, {"train.fast": 1}) == "train.fast=1: expected true or false"


@pytest.mark.parametrize(
    ("num_examples", "epochs", "epochs_of_random_head"),
    [(1, 5, 10), (1_000, 5, 8), (1_600, 5, 5), (2_000, 4, 4), (2_700, 3, 3), (3_000_000, 3, 3)],
)
def test_epochs_follow_the_size_of_the_training_split_unless_given(num_examples, epochs, epochs_of_random_head):
    assert TrainConfig().num_epochs(num_examples, predicts_untrained=True) == epochs
    assert TrainConfig().num_epochs(num_examples, predicts_untrained=False) == epochs_of_random_head
    assert TrainConfig(epochs=4).num_epochs(num_examples, predicts_untrained=False) == 4
