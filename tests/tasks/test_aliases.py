"""Aliases of tasks: configs, run directories and searches have the name of the task itself."""

import json
import logging

import pytest
from support import small

from tfbert.config import Config, override
from tfbert.hyperparameters import run as search_run
from tfbert.tasks import base
from tfbert.tasks.base import list_tasks, load_task
from tfbert.training import run
from tfbert.training.problem import prepare

TASK_OF = {
    "ner": "entities",
    "qa": "answers",
    "sts": "regression",
    "faq": "matching",
    "intent": "classification",
    "sentiment": "classification",
    "multi-label": "multilabel",
    "multi_label": "multilabel",
    "Multi Label": "multilabel",
    "multiple-choice": "multiple_choice",
    "token-classification": "entities",
    "NER": "entities",
}


@pytest.fixture(autouse=True)
def forget_logged_aliases():
    base.task_of_alias.cache_clear()


@pytest.mark.parametrize("alias", TASK_OF)
def test_an_alias_loads_the_task_and_is_logged_once(alias, caplog):
    caplog.set_level(logging.INFO, "tfbert")
    assert load_task(alias) is load_task(alias) is load_task(TASK_OF[alias])
    assert caplog.messages == [f"'{alias}' is another name for the task '{TASK_OF[alias]}'"]


def test_the_name_of_a_task_is_not_logged(caplog):
    caplog.set_level(logging.INFO, "tfbert")
    assert [load_task(name).name for name in list_tasks()] == list_tasks()
    assert caplog.messages == []


def test_aliases_are_unique():
    aliases = [alias for name in list_tasks() for alias in load_task(name).aliases]
    assert len({*aliases, *list_tasks()}) == len(aliases) + len(list_tasks())
    assert all(alias == alias.lower() and "-" not in alias for alias in aliases)


def test_a_misspelt_alias_is_suggested():
    with pytest.raises(ValueError, match=r"^task 'sentimnt' is not one of .*; did you mean 'sentiment'\?$"):
        load_task("sentimnt")


@pytest.mark.parametrize("option", ["--task", "--set", "--config"])
def test_the_config_has_the_name_of_the_task(option, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"task": "qa"}), encoding="utf-8")
    arguments = {"--task": ["--task", "qa"], "--set": ["--set", "task=qa"], "--config": ["--config", str(path)]}[option]
    train = small.load_command("train")
    config = train.read_config(train.build_parser("train").parse_args(arguments))
    assert config.task == "answers"
    # The defaults of a task apply under any of its names; a stored config has its own values.
    assert (config.encoder.sequence_length == 384) == (option != "--config")


def test_a_search_has_the_name_of_the_task(tmp_path, caplog):
    caplog.set_level(logging.INFO, "tfbert")
    search = small.load_command("search")
    plan = search.read_plan(search.build_parser("search").parse_args(["--task", "intent"]))
    assert plan.config.task == "classification"
    assert plan.space == load_task("classification").search_space
    assert search_run.choose_out_dir(plan, tmp_path).parent.name == "classification-search"
    assert caplog.messages == ["'intent' is another name for the task 'classification'"]


def test_a_problem_and_its_run_directory_have_the_name_of_the_task(tmp_path):
    values = {"data.path": str(small.write_data(tmp_path / "data")), "encoder.name": "tiny"}
    problem = prepare(override(Config(task="intent"), values | {"encoder.sequence_length": 32}))
    assert problem.config.task == problem.task.name == "classification"
    assert run.choose_run_dir(problem, tmp_path / "runs").parent == tmp_path / "runs" / "classification"
