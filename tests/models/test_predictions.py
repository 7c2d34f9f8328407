"""Predictions as JSON: values, padding, and the lines of a predictions file."""

import io
import json

import numpy as np

from tfbert.models.predictions import prediction_of, write_predictions
from tfbert.tasks.base_pooled import LabelOptions
from tfbert.tasks.multilabel import FittedMultilabel
from tfbert.text.records import Record

OUTPUTS = {
    "labels": np.array([[b"food", b"staff"], ["é".encode(), b""]], dtype=object),
    "label_probabilities": np.float32([[0.9, 1 / 3], [0.1, 0.0]]),
    "num_labels": np.int32([2, 1]),
    "probabilities": np.float32([[0.9, 1 / 3, 0.2], [0.0, 0.05, 0.1]]),
    "truncated": np.array([False, True]),
}


def test_values_are_ready_for_json_and_sorted_by_name():
    prediction = prediction_of(OUTPUTS, 0)
    assert list(prediction) == ["label_probabilities", "labels", "num_labels", "probabilities", "truncated"]
    assert prediction == {
        "label_probabilities": [0.9, 0.333333], "labels": ["food", "staff"], "num_labels": 2,
        "probabilities": [0.9, 0.333333, 0.2], "truncated": False,
    }  # fmt: skip
    assert json.loads(json.dumps(prediction_of(OUTPUTS, 1)))["labels"] == ["é", ""]


def test_bytes_that_are_not_utf8_are_replaced():
    assert prediction_of({"label": np.array([b"\xff"], dtype=object)}, 0) == {"label": "\ufffd"}


def test_a_line_has_split_id_gold_and_outputs_without_padding():
    options = LabelOptions()
    task = FittedMultilabel(
        options=options, has_pair=False, labels=("food", "staff", "é"), counts=(1, 1, 1), num_examples=2
    )
    records = [Record("a", ("food", "staff"), "t.csv:2"), Record("b", ("é",), "t.csv:3")]
    stream = io.StringIO()
    write_predictions(stream, task, "test", records, OUTPUTS)
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert first == {"split": "test", "id": "t.csv:2", "gold": ["food", "staff"], "outputs": prediction_of(OUTPUTS, 0)}
    assert (second["id"], second["gold"]) == ("t.csv:3", ["é"])
    assert second["outputs"] == prediction_of(OUTPUTS, 1) | {"label_probabilities": [0.1], "labels": ["é"]}
