"""Answers without what fills their lists up."""

import pytest

from tfbert.serving.padding import without_padding

TEXT = {"text": "a"}


@pytest.mark.parametrize(
    ("item", "answer", "expected"),
    [
        (
            TEXT,
            {"labels": ["b", "a", ""], "label_probabilities": [0.9, 0.8, 0.0], "num_labels": 2, "probabilities": [0.8]},
            {"labels": ["b", "a"], "label_probabilities": [0.9, 0.8], "num_labels": 2, "probabilities": [0.8]},
        ),
        (
            TEXT,
            {"labels": [""], "label_probabilities": [0.0], "num_labels": 0, "truncated": False},
            {"labels": [], "label_probabilities": [], "num_labels": 0, "truncated": False},
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
            {"answer": ["c", ""], "start": [0, -1], "end": [1, -1], "probability": [0.4, 0.0], "best_answer": ""},
            {"answer": ["c"], "start": [0], "end": [1], "probability": [0.4], "best_answer": ""},
        ),
        (
            {"question": "q", "choices": ("a", "b")},
            {"choice": "b", "probability": 0.6, "probabilities": [0.4, 0.6, 0.0]},
            {"choice": "b", "probability": 0.6, "probabilities": [0.4, 0.6]},
        ),
        # What is no padding stays: a label without a name, the probabilities of all labels, other models' outputs.
        (TEXT, {"label": "", "probabilities": [0.0, 1.0, 0.0]}, {"label": "", "probabilities": [0.0, 1.0, 0.0]}),
        (TEXT, {"similarity": [0.5, 0.0], "answer": ["x", ""]}, {"similarity": [0.5, 0.0], "answer": ["x", ""]}),
        (TEXT, {"output": [1.0]}, {"output": [1.0]}),
    ],
)
def test_lists_are_cut_to_what_belongs_to_the_item(item, answer, expected):
    assert without_padding(item, answer) == expected
