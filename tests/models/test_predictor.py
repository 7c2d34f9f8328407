"""The predictor: every record is predicted once, in any order of batches, and its outputs return to its place."""

import numpy as np
import pytest

from tfbert.config import Config
from tfbert.models import predictor
from tfbert.models.predictor import predict_all
from tfbert.tasks.classification import ClassificationOptions, FittedClassification
from tfbert.text.records import Record

OPTIONS = ClassificationOptions.from_config(Config())
TASK = FittedClassification(options=OPTIONS, has_pair=False, labels=("even", "odd"))


def records(count):
    # Of very different lengths, in no order.
    return [
        Record("word " * (index * 37 % 101) + str(index), ["even", "odd"][index % 2], f"a:{index}")
        for index in range(count)
    ]


def recording(asked):
    def ask(items):
        asked.append([item["text"] for item in items])
        numbers = np.array([int(item["text"].split()[-1]) for item in items])
        width = 1 + numbers.max() % 3
        names = np.array([[f"n{number}".encode()] * width for number in numbers], dtype=object)
        return {"number": numbers, "names": names, "wide": np.repeat(numbers[:, None], width, 1).astype(np.float32)}

    return ask


@pytest.mark.parametrize("pool", [1, 7, 5000])
def test_outputs_come_back_in_order(monkeypatch, pool):
    monkeypatch.setattr(predictor, "_POOL_RECORDS", pool)
    monkeypatch.setattr(predictor, "_BATCH_TOKENS", 300)
    asked = []
    outputs, gold = predict_all(recording(asked), TASK, iter(records(60)))
    assert outputs["number"].tolist() == list(range(60))
    assert gold == [index % 2 for index in range(60)]
    assert sorted(text for batch in asked for text in batch) == sorted(record.text for record in records(60))
    # What is narrower in its batch than elsewhere is padded.
    assert outputs["names"][7].tolist()[0] == b"n7" and outputs["wide"][7][0] == 7
    assert {value for row in outputs["names"] for value in row} == {b"", *(f"n{index}".encode() for index in range(60))}
    assert outputs["wide"].dtype == np.float32


def test_batches_have_similar_lengths_and_are_bounded(monkeypatch):
    monkeypatch.setattr(predictor, "_BATCH_TOKENS", 600)
    asked = []
    predict_all(recording(asked), TASK, records(200))
    longest = [max(map(len, batch)) for batch in asked]
    assert longest == sorted(longest, reverse=True)
    assert all(len(batch) == 1 or len(batch) * max(map(len, batch)) / 3.5 <= 600 for batch in asked)
    assert max(len(batch) for batch in asked) > 20 and len(asked[0]) <= 5


def test_a_record_with_an_unknown_label_is_refused():
    with pytest.raises(ValueError, match="a:1: label 'none' is not one of the 2 labels of train"):
        predict_all(recording([]), TASK, [Record("1", "odd", "a:0"), Record("2", "none", "a:1")])
