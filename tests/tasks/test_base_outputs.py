"""Predictions without padding, and the declared outputs of all tasks."""

import json

import pytest

from tfbert.tasks.base import fitted_kinds, list_tasks
from tfbert.tasks.base_outputs import ALL, ANSWERS, ENTITIES, Output, declared, from_json, to_json, without_padding

TEXT = {"text": "a"}
MULTI = {"probabilities": [0.8, 0.0], "truncated": False}
SPANS = {"best_answer": "", "no_answer_probability": 0.5, "no_answer_margin": 0.1, "truncated": False}
CHOICE = {"choice": "b", "choice_index": 1, "probability": 0.6, "truncated": False}


@pytest.mark.parametrize(
    ("item", "prediction", "expected"),
    [
        (
            TEXT,
            MULTI | {"labels": ["b", "a", ""], "label_probabilities": [0.9, 0.8, 0.0], "num_labels": 2},
            MULTI | {"labels": ["b", "a"], "label_probabilities": [0.9, 0.8], "num_labels": 2},
        ),
        (
            TEXT,
            MULTI | {"labels": [""], "label_probabilities": [0.0], "num_labels": 0},
            MULTI | {"labels": [], "label_probabilities": [], "num_labels": 0},
        ),
        (
            TEXT,
            {
                "entity_text": ["Ada", ""],
                "entity_label": ["person", ""],
                "start": [0, -1],
                "end": [3, -1],
                "probability": [0.7, 0.0],
                "num_entities": 1,
            },
            {
                "entity_text": ["Ada"],
                "entity_label": ["person"],
                "start": [0],
                "end": [3],
                "probability": [0.7],
                "num_entities": 1,
            },
        ),
        (
            {"question": "q", "context": "c"},
            SPANS | {"answer": ["c", ""], "start": [0, -1], "end": [1, -1], "probability": [0.4, 0.0]},
            SPANS | {"answer": ["c"], "start": [0], "end": [1], "probability": [0.4]},
        ),
        (
            {"question": "q", "choices": ("a", "b")},
            CHOICE | {"probabilities": [0.4, 0.6, 0.0]},
            CHOICE | {"probabilities": [0.4, 0.6]},
        ),
        # Values that are not padding stay: an empty label, the probabilities of all labels, outputs of other models.
        (TEXT, {"label": "", "probabilities": [0.0, 1.0, 0.0]}, {"label": "", "probabilities": [0.0, 1.0, 0.0]}),
        (TEXT, {"similarity": [0.5, 0.0], "answer": ["x", ""]}, {"similarity": [0.5, 0.0], "answer": ["x", ""]}),
        (TEXT, {"output": [1.0]}, {"output": [1.0]}),
    ],
)
def test_padding_is_removed(item, prediction, expected):
    assert without_padding(declared(prediction), item, prediction) == expected


def test_outputs_that_no_task_here_declares_lose_their_padding():
    outputs = (
        Output("words", "string", "the words", "answer", True, "num_words"),
        Output("num_words", "int32", "number"),
    )
    prediction = {"words": ["a", ""], "num_words": 1}
    assert declared(prediction) == ()
    assert without_padding(outputs, TEXT, prediction) == {"words": ["a"], "num_words": 1}


@pytest.mark.parametrize("outputs", ALL)
def test_declarations_survive_json(outputs):
    assert from_json(json.loads(json.dumps(to_json(outputs)))) == outputs


def test_outputs_of_a_task_are_found_by_their_names():
    assert declared(["num_entities", "entity_text", "entity_label", "start", "end", "probability"]) == ENTITIES
    assert declared(["output"]) == declared([]) == ()
    names = [frozenset(output.name for output in outputs) for outputs in ALL]
    assert len(set(names)) == len(names), "outputs of two tasks could not be told apart"


def test_every_task_has_an_answer_and_at_most_one_way_to_abstain():
    for outputs in ALL:
        names = [output.name for output in outputs]
        assert len(set(names)) == len(names)
        abstaining = [output for output in outputs if output.role == "abstain"]
        assert len(abstaining) <= 1
        assert all(output.abstain_value is not None for output in abstaining)
        assert any(output.role == "answer" for output in outputs)
    assert next(output for output in ANSWERS if output.role == "abstain").abstain_value == ""


def test_all_declarations_of_tasks_are_known_and_distinct():
    kinds = [kind for task in list_tasks() for kind in fitted_kinds(task)]
    assert {kind.all_outputs for kind in kinds} == set(ALL)
    names = [frozenset(output.name for output in outputs) for outputs in ALL]
    assert len(set(names)) == len(names)
