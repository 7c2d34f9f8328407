"""Tasks fitted to models that were trained elsewhere, and what their decisions say about themselves."""

import numpy as np
import pytest

from tfbert.tasks.base import list_tasks, load_task
from tfbert.tasks.base_huggingface import ConvertibleTask
from tfbert.text.records import Record


def fitted(task, *labels, has_pair=False):
    definition = load_task(task)
    return definition.fit_to_model(labels, definition.options(), has_pair)


def test_model_classes_are_distinct_and_name_classes_of_transformers():
    tasks = [load_task(name) for name in list_tasks()]
    classes = [task.model_class for task in tasks if isinstance(task, ConvertibleTask)]
    assert len(set(classes)) == len(classes) == 6
    names = {(kind.architecture, kind.auto_class, kind.layer) for kind in classes}
    assert ("BertForQuestionAnswering", "AutoModelForQuestionAnswering", "qa_outputs") in names


def test_labels_keep_the_order_of_the_model():
    task = fitted("classification", "yes", "no", "maybe", has_pair=True)
    record = Record("a", "no", "f:1", ("b",))
    assert task.labels == ("yes", "no", "maybe") and task.target_of(record) == 1
    assert [value.name for value in task.inputs] == ["text", "text_pair"]
    with pytest.raises(ValueError, match="label 'yess' is not one of the 3 labels of train; did you mean 'yes'"):
        task.target_of(Record("a", "yess", "f:1", ("b",)))
    multilabel = fitted("multilabel", "b", "a")
    assert multilabel.target_of(Record("a", ("a",), "f:1")).tolist() == [False, True]
    values = {**multilabel.decision.initial(), "thresholds": np.float32([0.25, 0.5])}
    assert multilabel.decision.describe(values).endswith("from which it is chosen: b 1 +0 0.25, a 1 +0 0.5")


def test_a_regression_predicts_in_its_own_units_without_limits():
    task = fitted("regression", "LABEL_0")
    assert (task.score_scale, task.score_offset, task.decoding) == (1.0, 0.0, "")
    assert task.decode_texts(np.float32([[-12345.5]]))["value"].numpy().tolist() == [-12345.5]
    own = load_task("regression").fit([Record("a", 1.0, ""), Record("b", 4.0, "")], load_task("regression").options())
    assert (own.score_scale, own.score_offset) == (1.5, 2.5) and "1 to 4" in own.decoding


def test_types_are_those_of_the_tags():
    task = fitted("entities", "B-place", "O", "I-place", "B-name")
    assert task.types == ("place", "name")
    assert task.model_labels == ["O", "B-place", "I-place", "B-name", "I-name"]


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        ("classification", ["a"], "the model has 1 label; expected at least two"),
        ("regression", ["a", "b"], "the model predicts 2 values; expected one"),
        ("entities", ["O", "X"], "tag 'X': expected O, B-TYPE or I-TYPE"),
        ("entities", ["B-a"], "tags are B-a; expected O among them"),
        ("entities", ["O", "I-a"], "tag 'I-a' without 'B-a'; expected IOB2"),
    ],
)
def test_labels_that_a_task_cannot_have_are_rejected(task, labels, message):
    with pytest.raises(ValueError, match=message):
        fitted(task, *labels)


def test_a_threshold_that_changes_nothing_is_not_described():
    answers, matching = fitted("answers"), load_task("matching")
    pairs = matching.fit([Record("q", None, "", ("a",)), Record("r", None, "", ("b",))], matching.options())
    for task, neutral, other in ((answers, np.inf, 1.5), (pairs, -1.0, 0.25)):
        values = task.decision.initial()
        assert task.decision.describe({**values, "threshold": np.float32(neutral)}) == ""
        assert str(other) in task.decision.describe({**values, "threshold": np.float32(other)})
