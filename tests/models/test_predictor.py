"""The predictor: every record is predicted once, in batches of similar lengths, and outputs keep the records' order."""

import numpy as np
import pytest

from tfbert.models import predictor
from tfbert.models.predictor import predict_all
from tfbert.tasks.base_pooled import LabelOptions
from tfbert.tasks.classification import FittedClassification
from tfbert.text.records import Record

TASK = FittedClassification(options=LabelOptions(), has_pair=False, labels=("even", "odd"))


def records(count):
    # Texts of very different lengths, in random order.
    return [
        Record("word " * (index * 37 % 101) + str(index), ["even", "odd"][index % 2], f"a:{index}")
        for index in range(count)
    ]


def recording(batches):
    def predict(items):
        batches.append([item["text"] for item in items])
        numbers = np.array([int(item["text"].split()[-1]) for item in items])
        width = 1 + numbers.max() % 3
        names = np.array([[f"n{number}".encode()] * width for number in numbers], dtype=object)
        return {"number": numbers, "names": names, "wide": np.repeat(numbers[:, None], width, 1).astype(np.float32)}

    return predict


@pytest.mark.parametrize("pool", [1, 7, 5000])
def test_outputs_come_back_in_order(monkeypatch, pool):
    monkeypatch.setattr(predictor, "_POOL_RECORDS", pool)
    monkeypatch.setattr(predictor, "_BATCH_TOKENS", 300)
    batches = []
    outputs, gold = predict_all(recording(batches), TASK, iter(records(60)))
    assert outputs["number"].tolist() == list(range(60))
    assert gold == [index % 2 for index in range(60)]
    assert sorted(text for batch in batches for text in batch) == sorted(record.text for record in records(60))
    # An output that is narrower in one batch than in another is padded.
    assert outputs["names"][7].tolist()[0] == b"n7" and outputs["wide"][7][0] == 7
    assert {value for row in outputs["names"] for value in row} == {b"", *(f"n{index}".encode() for index in range(60))}
    assert outputs["wide"].dtype == np.float32


def test_batches_have_similar_lengths_and_are_bounded(monkeypatch):
    monkeypatch.setattr(predictor, "_BATCH_TOKENS", 600)
    batches = []
    predict_all(recording(batches), TASK, records(200))
    longest = [max(map(len, batch)) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    assert all(len(batch) == 1 or len(batch) * max(map(len, batch)) / 3.5 <= 600 for batch in batches)
    assert max(len(batch) for batch in batches) > 20 and len(batches[0]) <= 5


def test_a_record_with_an_unknown_label_is_rejected():
    with pytest.raises(ValueError, match="a:1: label 'none' is not one of the 2 labels of train"):
        predict_all(recording([]), TASK, [Record("1", "odd", "a:0"), Record("2", "none", "a:1")])
