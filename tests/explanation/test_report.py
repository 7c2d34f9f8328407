"""Explanations in the report of a run."""

from types import SimpleNamespace

import numpy as np

from tfbert.explanation.report import explanation_details
from tfbert.text.records import Record

RECORDS = [Record(text, label, f"a:{n}") for n, (text, label) in enumerate([("my card", "fee"), ("loan", "card")] * 2)]


class Split(list):
    def records_at(self, indices):
        return [self[index] for index in indices]


def test_mistakes_are_explained_and_faithfulness_is_measured(predictor):
    details = explanation_details(predictor, Split(RECORDS), [1, 0])
    assert [[word[:3] for word in words] for words in details["explanations"]] == [[(0, 0, 4)], [(0, 0, 2), (0, 3, 7)]]
    assert [len(examples) for examples in details["evidence"]] == [3, 3]
    texts, label, similarity = details["evidence"][0][0]
    assert len(texts) == 1 and label in predictor.task.labels and -1 <= similarity <= 1
    assert details["faithfulness"]["num_texts"] == 2
    assert np.isfinite(details["faithfulness"]["explained"]["comprehensiveness"])


def test_long_texts_are_left_out(predictor):
    long = Record("card " * 2000, "card", "a:1")
    assert explanation_details(predictor, Split([long]), [0]) == {
        "explanations": [],
        "evidence": [],
        "faithfulness": None,
    }


def test_a_task_without_explanations_has_no_details():
    assert explanation_details(SimpleNamespace(task=SimpleNamespace(explained=None)), Split(), []) == {}
