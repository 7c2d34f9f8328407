"""Predictions as JSON: values, padding, and the lines of a predictions file."""

import io
import json

import numpy as np
import pytest

from tfbert.models.predictions import prediction_of, read_predictions, write_predictions
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


TASK = FittedMultilabel(
    options=LabelOptions(out_of_domain="none"),
    has_pair=False,
    labels=("food", "staff", "é"),
    counts=(1, 1, 1),
    num_examples=2,
)
RECORDS = [Record("a", ("food", "staff"), "t.csv:2"), Record("b", ("é",), "t.csv:3")]


def test_a_line_has_split_id_gold_and_outputs_without_padding():
    stream = io.StringIO()
    write_predictions(stream, TASK, "test", RECORDS, OUTPUTS)
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert first == {"split": "test", "id": "t.csv:2", "gold": ["food", "staff"], "outputs": prediction_of(OUTPUTS, 0)}
    assert (second["id"], second["gold"]) == ("t.csv:3", ["é"])
    assert second["outputs"] == prediction_of(OUTPUTS, 1) | {"label_probabilities": [0.1], "labels": ["é"]}


def test_predictions_are_read_as_padded_arrays(tmp_path):
    path = tmp_path / "predictions.jsonl"
    separator = {**OUTPUTS, "labels": np.array([[b"food", b"staff"], ["\u2028".encode(), b""]], dtype=object)}
    with open(path, "w", encoding="utf-8") as stream:
        write_predictions(stream, TASK, "validation", RECORDS[:1], OUTPUTS)
        write_predictions(stream, TASK, "test", RECORDS, separator)
    outputs, ids = read_predictions(path, "test", TASK.outputs)
    assert ids == ["t.csv:2", "t.csv:3"] and outputs.keys() == OUTPUTS.keys()
    for name, values in separator.items():
        assert outputs[name].dtype == values.dtype and outputs[name].shape == values.shape
        if values.dtype == np.float32:
            np.testing.assert_allclose(outputs[name], values, atol=1e-6)
        else:
            assert outputs[name].tolist() == values.tolist()


def test_a_predictions_file_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "predictions.jsonl"
    for content in (None, '{"split": "test", ', '{"split": "test", "id": "t.csv:2", "outputs": {}}'):
        if content:
            path.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=r"predictions\.jsonl: cannot be read .*predictions of a finished run"):
            read_predictions(path, "test", TASK.outputs)
