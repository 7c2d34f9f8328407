"""Columns of the inputs of a served model, with the usual names in the files of its task."""

import pytest

from tfbert.text.input_columns import ANCHOR, CONTEXT, MATCH, STEM, TEXT_PAIR, input_columns
from tfbert.text.records import TEXT


def names_of(column):
    return column.usual_names.split(", ")


@pytest.mark.parametrize(
    ("many", "role", "task_columns"),
    [
        ({"text": False}, "text", [TEXT, ANCHOR]),
        ({"text": False, "text_pair": False}, "text", [TEXT, ANCHOR]),
        ({"text": False, "text_pair": False}, "text_pair", [TEXT_PAIR, MATCH]),
        ({"question": False, "context": False}, "context", [CONTEXT]),
        ({"question": False, "choices": True}, "question", [STEM]),
    ],
)
def test_an_input_has_the_usual_names_of_the_task_columns(many, role, task_columns):
    [column] = [column for column in input_columns(many) if column.role == role]
    assert set(names_of(column)) == {name for task_column in task_columns for name in names_of(task_column)}
    assert len(names_of(column)) == len(set(names_of(column)))


def test_inputs_have_the_names_of_all_tasks_that_share_them():
    text, pair = input_columns({"text": False, "text_pair": False})
    assert (text.role, pair.role) == ("text", "text_pair") and not text.several
    assert {"text", "question", "sentence1"} <= set(names_of(text))
    assert {"hypothesis", "answer", "sentence2"} <= set(names_of(pair))


def test_the_names_of_a_role_depend_on_the_other_inputs():
    question, context = input_columns({"question": False, "context": False})
    assert names_of(question) == ["question", "query"] and "passage" in names_of(context)
    stem, choices = input_columns({"question": False, "choices": True})
    assert "premise" in names_of(stem) and choices.several and not stem.several


def test_an_input_that_no_task_has_keeps_its_own_name():
    columns = input_columns({"price": False, "brands": True})
    assert [(column.role, column.usual_names, column.several) for column in columns] == [
        ("price", "price", False),
        ("brands", "brands", True),
    ]
