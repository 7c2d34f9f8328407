"""Near-duplicates: pairs with nearly the same vector, except those that the data checks find."""

import numpy as np

from tfbert.data_quality.near_duplicates import find_near_duplicates
from tfbert.data_quality.neighbours import unit_vectors
from tfbert.text.records import Record
from tfbert.text.spans import Span


def test_near_duplicates_within_and_between_splits():
    train = [
        Record("where is my card", "card", "train.csv:2"),
        Record("where's my card now", "fee", "train.csv:3"),
        Record("Where is my card?", "card", "train.csv:4"),
        Record("loan rates", "loan", "train.csv:5"),
    ]
    test = [Record("the loan rates", "loan", "test.csv:2"), Record("else", "loan", "test.csv:3")]
    vectors = {
        "train": unit_vectors(np.asarray([[1, 0, 0.01], [1, 0.05, 0], [1, 0, 0], [0, 1, 0]])),
        "test": unit_vectors(np.asarray([[0, 1, 0.1], [0, 0, 1]])),
    }
    found = find_near_duplicates({"train": train, "test": test}, vectors)
    assert {(pair.kind, pair.records[0].where, pair.records[1].where) for pair in found} == {
        ("conflicting near-duplicate", "train.csv:2", "train.csv:3"),
        ("conflicting near-duplicate", "train.csv:3", "train.csv:4"),
        ("leak", "train.csv:5", "test.csv:2"),
    }
    assert all(pair.similarity >= 0.98 for pair in found)


def test_entities_conflict_if_their_texts_or_types_differ():
    def record(text, *spans):
        targets = tuple(Span(text.index(part), text.index(part) + len(part), label) for part, label in spans)
        return Record(text, targets, text)

    records = [
        record("Ada is here now", ("Ada", "person")),
        record("oh ada is here", ("ada", "person")),
        record("well, Ada is here", ("Ada", "place")),
    ]
    found = find_near_duplicates({"train": records}, {"train": np.ones((3, 1), np.float32)})
    assert sorted(pair.is_conflict for pair in found) == [False, True, True]
