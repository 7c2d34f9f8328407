"""Answering: every record is asked about once, in any order of batches, and its answer comes back to its place."""

import numpy as np
import pytest

from tfbert.tasks.classification import TASK
from tfbert.text.items import batch_of, from_json
from tfbert.text.records import Record
from tfbert.training import answering
from tfbert.training.answering import answer_all

FACTS = {"labels": ["even", "odd"], "has_pair": False}


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
def test_answers_come_back_in_order(monkeypatch, pool):
    monkeypatch.setattr(answering, "_POOL_RECORDS", pool)
    monkeypatch.setattr(answering, "_BATCH_TOKENS", 300)
    asked = []
    answers, gold = answer_all(recording(asked), TASK, FACTS, iter(records(60)))
    assert answers["number"].tolist() == list(range(60))
    assert gold == [index % 2 for index in range(60)]
    assert sorted(text for batch in asked for text in batch) == sorted(record.text for record in records(60))
    # What is narrower in its batch than elsewhere is padded.
    assert answers["names"][7].tolist()[0] == b"n7" and answers["wide"][7][0] == 7
    assert {value for row in answers["names"] for value in row} == {b"", *(f"n{index}".encode() for index in range(60))}
    assert answers["wide"].dtype == np.float32


def test_batches_are_of_like_length_and_bounded(monkeypatch):
    monkeypatch.setattr(answering, "_BATCH_TOKENS", 600)
    asked = []
    answer_all(recording(asked), TASK, FACTS, records(200))
    longest = [max(map(len, batch)) for batch in asked]
    assert longest == sorted(longest, reverse=True)
    assert all(len(batch) == 1 or len(batch) * max(map(len, batch)) / 3.5 <= 600 for batch in asked)
    assert max(len(batch) for batch in asked) > 20 and len(asked[0]) <= 5


def test_a_record_with_an_unknown_label_is_refused():
    with pytest.raises(ValueError, match="a:1: label 'none' is not one of the 2 labels of train"):
        answer_all(recording([]), TASK, FACTS, [Record("1", "odd", "a:0"), Record("2", "none", "a:1")])


def test_items_become_tensors():
    items = [{"a": "x", "b": ("1", "2", "é")}, {"a": "y\ud83d", "b": ("3",)}]
    tensors = batch_of(items, ["b", "a"])
    assert list(tensors) == ["b", "a"]
    assert tensors["a"].numpy().tolist() == [b"x", b"y?"]
    assert tensors["b"].numpy().tolist() == [[b"1", b"2", "é".encode()], [b"3", b"", b""]]
    assert from_json({"a": "x", "b": ["1", "2"]}) == {"a": "x", "b": ("1", "2")}
