"""Tasks loaded by name or alias, fitted tasks stored and loaded, known labels, and the monitored metric."""

import json
import logging

import pytest

from tfbert.config import Config
from tfbert.tasks.base import (
    FittedTask,
    fitted_from_json,
    fitted_kinds,
    list_tasks,
    load_task,
)
from tfbert.tasks.base_config import monitored_metric, require_known_labels
from tfbert.tasks.classification import FittedClassification
from tfbert.text.records import Record


def fitted(**fields):
    options = load_task("classification").options.from_config(Config())
    return FittedClassification(options=options, **{"has_pair": False, "labels": ("a", "b"), **fields})


def test_misspelt_task_names_a_similar_one():
    with pytest.raises(ValueError, match=r"task 'clasification' is not one of .*; did you mean 'classification'\?$"):
        load_task("clasification")
    with pytest.raises(ValueError, match=r"task 'weather' is not one of .*regression$"):
        load_task("weather")


def test_an_alias_is_logged_once(caplog):
    with caplog.at_level(logging.INFO, "tfbert"):
        assert load_task("Named Entity-Recognition").name == "entities"
        assert load_task("Named Entity-Recognition").name == "entities"
    assert caplog.messages.count("'Named Entity-Recognition' is another name for the task 'entities'") == 1


@pytest.mark.parametrize("name", list_tasks())
def test_every_task_has_fitted_kinds_with_declarations(name):
    kinds = fitted_kinds(name)
    assert kinds
    for kind in kinds:
        assert issubclass(kind, FittedTask)
        assert kind.inputs and kind.all_outputs and kind.targets and kind.monitor in kind.metrics
        names = [metric.name for metric in kind.metrics]
        assert len(set(names)) == len(names)


def test_a_stored_task_is_loaded():
    task = fitted(has_pair=True, labels=("x", "y", "z"))
    assert fitted_from_json(json.loads(json.dumps(task.to_json()))) == task


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "FittedPairs"},
        {"kind": "Classification"},
        {"threshold": 0.5},
        {"options": {"pooling": "mean"}},
    ],
)
def test_a_task_that_another_version_stored_is_rejected(change):
    with pytest.raises(ValueError, match="task classification: stored by another version of tfbert; train or export"):
        fitted_from_json(fitted().to_json() | change)


def test_a_stored_task_without_a_field_is_rejected():
    stored = fitted().to_json()
    del stored["labels"]
    with pytest.raises(ValueError, match="stored by another version"):
        fitted_from_json(stored)


def test_labels_that_train_lacks_are_rejected():
    task = fitted()
    require_known_labels(task, [[Record("t", "a", "x:1")]])
    with pytest.raises(ValueError, match="x:2: label 'c' is not one of the 2 labels of train"):
        require_known_labels(task, [[Record("t", "c", "x:2")]])


def test_the_monitored_metric_is_found_by_its_name():
    assert monitored_metric(fitted(), "macro_f1").better == "higher"
    assert monitored_metric(fitted(), "loss").sign == -1
    assert monitored_metric(fitted(), None) is FittedClassification.monitor
    with pytest.raises(ValueError, match=r"train.monitor=acuracy: expected one of .*; did you mean 'accuracy'\?$"):
        monitored_metric(fitted(), "acuracy")
