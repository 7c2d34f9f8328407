"""Labels to judge: their descriptions, and joined labels."""

import numpy as np

from tfbert.data_quality.labels import GivenLabel, Labels, label_text
from tfbert.text.records import Record
from tfbert.text.spans import Span


def test_labels_are_described():
    pair = Record("first", "yes", "a.csv:2", ("second",))
    entities = Record("👩‍💻 Ada met Mary", (Span(4, 7, "person"), Span(12, 16, "place")), "a.jsonl:1")
    assert GivenLabel(pair, "yes").describe() == "a.csv:2 first / second"
    assert GivenLabel(entities, "person", (4, 7)).describe() == "a.jsonl:1 'Ada' in: 👩‍💻 Ada met Mary"
    assert label_text(pair) == "yes" and label_text(entities) == "Ada: person; Mary: place"


def test_labels_are_joined():
    record = Record("a", "x", "a.csv:2")
    first, second = (
        Labels([GivenLabel(record, label)], np.float32([[target]]), np.asarray([target]))
        for target, label in enumerate("xy")
    )
    joined = first + second
    assert len(joined) == 2 and joined.targets.tolist() == [0, 1] and joined.vectors.tolist() == [[0], [1]]
    assert [given.label for given in joined.given] == ["x", "y"]
