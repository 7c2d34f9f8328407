"""Predictions in the form that an audit compares, from the outputs of each task on whole texts."""

import numpy as np
import pytest

from tfbert.audit.answers import answers_of, gold_labels, require_audited
from tfbert.tasks.base import load_task
from tfbert.text.records import Record


def fitted(task, targets):
    definition = load_task(task)
    records = [Record(f"text {index}", target, f"f:{index}") for index, target in enumerate(targets)]
    return definition.fit(records, definition.options()), records


def test_labels_of_a_classification():
    task, records = fitted("classification", ["b", "a", "c"])
    probabilities = np.array([[0.2, 0.7, 0.1], [0.5, 0.3, 0.2]], np.float32)
    before = answers_of(task, {"label": np.array([b"b", b"a"], object), "probabilities": probabilities})
    assert (before.names, before.num_free, before.several) == (("a", "b", "c"), 3, False)
    assert before.chosen.tolist() == [[False, True, False], [True, False, False]]
    assert gold_labels(task, records).tolist() == [[False, True, False], [True, False, False], [False, False, True]]
    changed = np.array([[0.6, 0.3, 0.1], [0.5, 0.2, 0.3]], np.float32)
    after = answers_of(task, {"label": np.array([b"a", b"a"], object), "probabilities": changed})
    assert before.total_change(after) == pytest.approx([0.4, 0.1])
    assert before.flips(after).tolist() == [True, False]
    assert fitted("classification", ["b", "a"])[0].known_labels == ("a", "b")


def test_several_labels():
    task, records = fitted("multilabel", [("a", "b"), ()])
    outputs = {
        "labels": np.array([[b"b", b"a"], [b"", b""]], object),
        "probabilities": np.array([[0.7, 0.9], [0.1, 0.2]], np.float32),
    }
    before = answers_of(task, outputs)
    assert before.chosen.tolist() == [[True, True], [False, False]] == gold_labels(task, records).tolist()
    assert before.num_free == 2 and before.several
    after = answers_of(task, outputs | {"probabilities": np.array([[0.7, 0.6], [0.3, 0.2]], np.float32)})
    assert before.total_change(after) == pytest.approx([0.3, 0.2]) and not before.flips(after).any()


def test_values():
    task, _ = fitted("regression", [1.0, 5.0])
    before, after = (answers_of(task, {"value": np.array(values, np.float32)}) for values in ([2, 3], [2.5, 1]))
    assert (before.names, before.chosen, before.scale) == (("value",), None, 2.0)
    assert before.total_change(after).tolist() == [0.5, 2.0] and not before.flips(after).any()


def test_other_tasks_are_refused():
    task, _ = fitted("multiple_choice", [0])
    with pytest.raises(ValueError, match="--audit: is not available for multiple_choice; expected a model of classifi"):
        require_audited(task)
    require_audited(fitted("regression", [1.0, 2.0])[0])
