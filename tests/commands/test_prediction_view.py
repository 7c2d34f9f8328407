"""Predictions on a terminal: labels, several labels, choices, entities, answers, numbers, and long texts."""

import pytest

from tfbert.commands.prediction_view import prediction_lines

LABELS = ["card", "fee", "loan", "other"]
RANKED = {"probabilities": [0.05, 0.7, 0.2, 0.05], "truncated": False}
CASES = {
    "classification": (
        {"text": "what does it cost"},
        {"label": "fee", "label_id": 1, "probability": 0.7, **RANKED},
        LABELS,
        None,
        ["what does it cost", "  fee    70.0 %  ██████████████", "  loan   20.0 %  ████", "  card    5.0 %  █"],
    ),
    "the best label": (
        {"text": "a"},
        {"label": "fee", "label_id": 1, "probability": 0.7, **RANKED, "truncated": True},
        LABELS,
        1,
        ["a", "  fee   70.0 %  ██████████████", "  truncated"],
    ),
    "a server without label names": (
        {"text": "a"},
        {"label": "fee", "label_id": 1, "probability": 0.7, **RANKED},
        [],
        None,
        ["a", "  label: fee", "  probability: 70.0 %"],
    ),
    "several labels": (
        {"text": "a"},
        {"labels": ["fee"], "label_probabilities": [0.7], "num_labels": 1, **RANKED},
        LABELS,
        2,
        ["a", "  ✓ fee    70.0 %  ██████████████", "    loan   20.0 %  ████"],
    ),
    "no label": (
        {"text": "a"},
        {"labels": [], "label_probabilities": [], "num_labels": 0, **RANKED},
        LABELS,
        1,
        ["a", "  no label reaches its threshold", "    fee   70.0 %  ██████████████"],
    ),
    "choices": (
        {"choices": ("red", "blue"), "question": "which colour"},
        {"choice": "blue", "choice_index": 1, "probability": 0.75, "probabilities": [0.25, 0.75], "truncated": False},
        [],
        None,
        ["choices: red | blue", "question: which colour", "  blue   75.0 %  ███████████████", "  red    25.0 %  █████"],
    ),
    "entities": (
        {"text": "Ann in Oslo"},
        {
            "entity_text": ["Ann", "Oslo"],
            "entity_label": ["person", "place"],
            "start": [0, 7],
            "end": [3, 11],
            "probability": [0.9, 0.5],
            "num_entities": 2,
        },
        [],
        None,
        [
            "Ann in Oslo",
            "  entity text  entity label  start  end  probability",
            "  Ann          person            0    3       90.0 %",
            "  Oslo         place             7   11       50.0 %",
        ],
    ),
    "no entities": (
        {"text": "a"},
        {"entity_text": [], "entity_label": [], "start": [], "end": [], "probability": [], "num_entities": 0},
        [],
        None,
        ["a", "  nothing found"],
    ),
    "a number": ({"text": "a"}, {"value": 1234.5678, "truncated": False}, [], None, ["a", "  value: 1235"]),
    "another model": (
        {"text": "a"},
        {"mine": [1, 2], "b": "x"},
        [],
        None,
        ["a", "  b: x", "  mine", "     1", "     2"],
    ),
    "no answer": (
        {"question": "a", "context": "b"},
        {
            "best_answer": "",
            "answer": ["b"],
            "start": [0],
            "end": [1],
            "probability": [0.25],
            "no_answer_probability": 0.75,
            "no_answer_margin": 1.0,
            "truncated": False,
        },
        [],
        None,
        [
            "question: a",
            "context: b",
            "  best answer: (none)",
            "  answer  start  end  probability",
            "  b           0    1       25.0 %",
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_lines_of_a_prediction(monkeypatch, case):
    monkeypatch.setenv("COLUMNS", "80")
    item, outputs, labels, top, expected = CASES[case]
    assert prediction_lines(item, outputs, labels, top) == expected


def test_long_texts_and_lists_are_cut(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    lines = prediction_lines({"text": "one\ntwo " * 9}, {"mine": [str(n) for n in range(12)]}, [], None)
    assert lines[0] == "one two one two one two one t…"
    assert len(lines) == 13 and lines[-1] == "  and 2 more"
