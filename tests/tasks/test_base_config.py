"""The config of a task: its name, its defaults, and the options that it uses."""

import json

import pytest

from tfbert.config import Config, override
from tfbert.tasks.base import load_task
from tfbert.tasks.base_config import check_options, list_options, read_config, used_options


def stored(folder, task, **values):
    config = override(Config(task=task), {path.replace("__", "."): value for path, value in values.items()})
    path = folder / f"{task}.json"
    path.write_text(json.dumps(config.to_dict()))
    return path


def test_the_default_task_is_used_without_a_name():
    assert read_config(None, None, {}) == Config(task="classification")


def test_the_defaults_of_a_task_apply_wherever_it_is_named():
    expected = override(Config(task="answers"), load_task("answers").defaults)
    assert expected.encoder.sequence_length == 384
    assert read_config("answers", None, {}) == read_config(None, None, {"task": "answers"}) == expected
    assert read_config("qa", None, {"task": "squad"}) == expected


def test_a_stored_config_has_its_own_task_and_values(tmp_path):
    path = stored(tmp_path, "entities", train__epochs=7)
    for task in (None, "entities", "ner"):
        config = read_config(task, path, {"train.seed": 3})
        assert (config.task, config.train.epochs, config.train.seed) == ("entities", 7, 3)
        # A stored config is complete, so the defaults of the task are not applied again.
        assert config.train.head_learning_rate_factor == 1.0


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"train": {"epoch": 3}}, "config has no field 'train.epoch'; did you mean 'train.epochs'?"),
        ({"train": {"epochs": "three"}}, "train.epochs='three': expected a whole number or none"),
        ({"train": {"learning_rate": -1.0}}, "train.learning_rate=-1.0: expected more than 0"),
        ({"task": "entities", "head": {"pooling": "cls"}}, "head.pooling=cls: entities does not use it; "),
    ],
)
def test_a_mistake_in_a_stored_config_names_the_file(tmp_path, tree, message):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(ValueError) as caught:
        read_config(None, path, {})
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("values", [{}, {"task": "entities"}])
def test_a_task_that_differs_from_the_stored_config_is_rejected(tmp_path, values):
    path = stored(tmp_path, "entities")
    with pytest.raises(ValueError) as caught:
        read_config("multilabel", path, values)
    message = str(caught.value)
    assert message.startswith(f"--task (multilabel) and --config {path} (entities)")
    assert message.endswith("name different tasks; expected one task")


def test_two_different_tasks_in_options_are_rejected():
    with pytest.raises(ValueError, match=r"--task \(answers\) and --set task= \(entities\) name different tasks"):
        read_config("answers", None, {"task": "entities"})


def test_an_option_of_other_tasks_is_rejected_with_their_names():
    config = override(Config(task="regression"), {"train.hard_negatives": 2})
    with pytest.raises(ValueError, match="train.hard_negatives=2: regression does not use it; only matching does$"):
        check_options(config)
    config = override(Config(task="entities"), {"head.pooling": "cls"})
    with pytest.raises(ValueError, match="head.pooling=cls: entities does not use it; .* and regression do$"):
        check_options(config)


def test_a_default_is_rejected_only_if_a_user_sets_it(tmp_path):
    # The stored config of a run holds the options of every task.
    read_config(None, stored(tmp_path, "regression"), {})
    with pytest.raises(ValueError, match="train.hard_negatives=0: regression does not use it; only matching does$"):
        read_config("regression", None, {"train.hard_negatives": 0})
    check_options(override(Config(task="regression"), {"train.hard_negatives": 0, "data.tag_scheme": "auto"}))


def test_listed_options_are_those_of_the_task():
    listed = {path: (default, allowed, text) for path, default, allowed, text in list_options("answers")}
    assert listed["encoder.sequence_length"][0] == 384
    assert "head.pooling" not in listed and "data.tag_scheme" not in listed
    assert {"train.class_weights", "train.learning_rate", "data.path"} <= set(listed)
    assert listed["train.class_weights"][1] == "none or balanced"
    assert listed["task"][1] == (
        "answers, classification, entities, matching, multilabel, multiple_choice or regression"
    )
    assert listed["train.monitor"][1] == (
        "f1, exact_match, has_answer_f1, has_answer_exact_match, no_answer_accuracy or none"
    )
    assert all(allowed and text for _, allowed, text in listed.values())
    assert used_options(load_task("answers")) <= set(listed)
