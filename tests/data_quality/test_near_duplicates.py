"""Near-duplicates: pairs with nearly the same vector, except those that the data checks find."""

import numpy as np

from tfbert.data_quality.near_duplicates import find_near_duplicates
from tfbert.data_quality.neighbours import unit_vectors
from tfbert.text.records import Record


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
