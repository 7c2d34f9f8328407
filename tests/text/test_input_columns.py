"""Columns of what a served model is asked: the names that its task's files may use for them."""

import pytest

from tfbert.text.input_columns import ANCHOR, CONTEXT, MATCH, STEM, TEXT_PAIR, input_columns
from tfbert.text.records import TEXT


def names_of(column):
    return column.usual_names.split(", ")


@pytest.mark.parametrize(
    ("ranks", "role", "learned_from"),
    [
        ({"text": 1}, "text", [TEXT, ANCHOR]),
        ({"text": 1, "text_pair": 1}, "text", [TEXT, ANCHOR]),
        ({"text": 1, "text_pair": 1}, "text_pair", [TEXT_PAIR, MATCH]),
        ({"question": 1, "context": 1}, "context", [CONTEXT]),
        ({"question": 1, "choices": 2}, "question", [STEM]),
    ],
)
def test_a_file_that_was_learned_from_can_be_asked_about(ranks, role, learned_from):
    [column] = [column for column in input_columns(ranks) if column.role == role]
    assert set(names_of(column)) == {name for each in learned_from for name in names_of(each)}
    assert len(names_of(column)) == len(set(names_of(column)))


def test_inputs_have_the_names_of_all_tasks_that_share_them():
    text, pair = input_columns({"text": 1, "text_pair": 1})
    assert (text.role, pair.role) == ("text", "text_pair") and not text.several
    assert {"text", "question", "sentence1"} <= set(names_of(text))
    assert {"hypothesis", "answer", "sentence2"} <= set(names_of(pair))


def test_the_same_role_has_other_names_beside_other_inputs():
    question, context = input_columns({"question": 1, "context": 1})
    assert names_of(question) == ["question", "query"] and "passage" in names_of(context)
    stem, choices = input_columns({"question": 1, "choices": 2})
    assert "premise" in names_of(stem) and choices.several and not stem.several


def test_inputs_that_no_task_has_are_known_by_their_own_names():
    found = input_columns({"price": 1, "brands": 2})
    assert [(column.role, column.usual_names, column.several) for column in found] == [
        ("price", "price", False),
        ("brands", "brands", True),
    ]
