"""Labels of spans: entities with a wrong type, words that look like entities, and spans that are none."""

import numpy as np
import pytest

from tfbert.data_quality.label_errors import score_labels
from tfbert.data_quality.neighbours import unit_vectors
from tfbert.data_quality.spans import span_labels
from tfbert.data_quality.words import Words
from tfbert.text.corrections import NO_ENTITY
from tfbert.text.records import Record
from tfbert.text.spans import Span

# The direction of the vector of each word.
DIRECTIONS = {"Ada": 0, "Mary": 0, "York": 1, "Rome": 1, "New": 1, "is": 2, "in": 3, "old": 4}
TYPE = {0: "person", 1: "place"}


def make(sentences, seed):
    """Return records, their true spans, and their words."""
    rng = np.random.default_rng(seed)
    records, spans, vectors, first, starts, ends = [], [], [], [0], [], []
    for index, sentence in enumerate(sentences):
        names, position = sentence.split(), 0
        spans.append([])
        for name in names:
            starts.append(position)
            ends.append(position + len(name))
            vectors.append(np.eye(5)[DIRECTIONS[name]] + 0.05 * rng.normal(size=5))
            if (label := TYPE.get(DIRECTIONS[name])) and name != "New":
                spans[-1].append(Span(position, position + len(name), label))
            position += len(name) + 1
        first.append(len(vectors))
        records.append(Record(sentence, (), f"t:{index}"))
    return records, spans, Words(unit_vectors(np.asarray(vectors)), *map(np.asarray, (first, starts, ends)))


@pytest.fixture(scope="module")
def judged():
    sentences = [
        f"{person} is {adjective} in {place}"
        for person in ("Ada", "Mary")
        for place in ("York", "Rome")
        for adjective in ("old", "in", "is")
    ] * 5
    records, spans, words = make(sentences, 0)
    # A wrong type, a missed entity, an entity that is none, and an entity that is too short.
    spans[0][0] = spans[0][0]._replace(label="place")
    del spans[7][1]
    spans[9] = [spans[9][0], Span(4, 6, "person"), spans[9][1]]
    test = make(["Ada is in New York", "Mary in Rome is Ada"], 1)
    del test[1][1][2]
    return span_labels(
        {"train": records, "test": test[0]},
        {"train": spans, "test": test[1]},
        {"train": words, "test": test[2]},
        ["person", "place"],
    )


def test_missed_entities_are_proposed_with_exact_borders(judged):
    missed = [(given.record.where, given.span, given.span_text) for given in judged.missed["train"].given]
    assert missed == [("t:7", (14, 18), "York")]
    assert all(given.label == NO_ENTITY for given in judged.missed["train"].given)
    # `New` touches an entity of the same type: its borders are not judged.
    assert [given.span_text for given in judged.missed["test"].given] == ["Ada"]


def test_entities_and_missed_entities_are_judged(judged):
    train, number = judged.train, judged.num_listed
    assert judged.names == ["person", "place", NO_ENTITY]
    assert {given.label for given in train.given[number:]} == {NO_ENTITY} and len(train) > 1.3 * number
    others = {"missed": (judged.missed["train"].vectors, judged.missed["train"].targets)}
    scores, of_others, _ = score_labels(train.vectors, train.targets, 3, others)
    doubtful = scores.take(np.arange(number)).doubtful[:2]
    found = {
        (train.given[row].record.where, train.given[row].span_text, judged.names[scores.suggested[row]])
        for row in doubtful
    }
    assert found == {("t:0", "Ada", "person"), ("t:9", judged_text(judged, "t:9"), NO_ENTITY)}
    assert judged.names[of_others["missed"].suggested[0]] == "place"


def judged_text(judged, where):
    return next(g.span_text for g in judged.train.given if (g.record.where, g.span) == (where, (4, 6)))
