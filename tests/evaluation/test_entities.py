"""Scores of entities: exact spans as conlleval and seqeval count them, and what the report says of mistakes."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support
from tfbert.evaluation.spans import FUNCTIONS, NOTHING, Entity, count, findings, kind_of, partners, scores

from tfbert.evaluation import report_page
from tfbert.text.spans import Span, outermost, spans_of_tags

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=50)
TEXT = "Ada Lovelace met Charles Babbage in New York, London."
WORDS = ["Ada", "Lovelace", "met", "Charles", "Babbage", "in", "New", "York", ",", "London", "."]


def entity(words, label, probability=1.0):
    start = TEXT.index(words)
    return Entity(start, start + len(words), label, words, probability)


def by_tags(tags):
    """Return the entities that IOB2 tags of words mark, in words."""
    return [
        Entity(span.start, span.end, span.label, " ".join("w" * (span.end - span.start)))
        for span in spans_of_tags(tags.split(), "iob2")
    ]


GOLD = [
    entity("Ada Lovelace", "per"),
    entity("Charles Babbage", "per"),
    entity("New York", "loc"),
    entity("London", "loc"),
]
FOUND = [
    entity("Ada Lovelace", "per", 0.9),
    entity("Babbage", "per", 0.8),  # right type, other place
    entity("New York", "org", 0.7),  # right place, other type
    entity("met", "loc", 0.95),  # nothing there
]


@pytest.mark.parametrize(
    ("true", "said", "precision", "recall", "f1"),
    [
        # What conlleval prints for these: correct, guessed and true phrases, from which the three follow.
        ("B-a I-a O B-b", "B-a I-a O B-b", 1, 1, 1),
        ("B-a I-a O B-b", "B-a O O B-b", 1 / 2, 1 / 2, 1 / 2),  # a part is not found
        ("B-a I-a O B-b", "B-a I-a O B-a", 1 / 2, 1 / 2, 1 / 2),  # nor is another type
        ("B-a I-a O O", "B-a B-a O O", 0, 0, 0),  # two for one
        ("B-a B-a O O", "B-a I-a O O", 0, 0, 0),  # one for two
        ("B-a O B-a O", "B-a O O O", 1, 1 / 2, 2 / 3),
        ("B-a O O O", "B-a O B-b B-b", 1 / 3, 1, 1 / 2),
        ("O O O O", "O O O O", 0, 0, 0),  # nothing to find and nothing found
        ("O O O O", "B-a O O O", 0, 0, 0),
        ("B-a O O O", "O O O O", 0, 0, 0),
    ],
)
def test_exact_spans_count(true, said, precision, recall, f1):
    counts = count([by_tags(true)], [by_tags(said)])
    found = {name: function(counts) for name, function in FUNCTIONS.items()}
    assert found == pytest.approx({"precision": precision, "recall": recall, "f1": f1})


def test_entities_of_all_records_are_pooled():
    gold, found = [by_tags("B-a O B-a"), by_tags("B-b")], [by_tags("B-a O O"), by_tags("B-a")]
    result = scores(gold, found, ["a", "b"])
    assert {name: metric["value"] for name, metric in result["metrics"].items()} == pytest.approx(
        {"f1": 2 / 5, "precision": 1 / 2, "recall": 1 / 3}
    )
    assert result["per_label"]["a"] == pytest.approx(
        {"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "num_examples": 2, "num_predicted": 2}
    )
    assert result["per_label"]["b"] == {"precision": 0, "recall": 0, "f1": 0, "num_examples": 1, "num_predicted": 0}


drawn_spans = st.lists(
    st.builds(lambda start, length, label: Span(start, start + length, label), st.integers(0, 8), st.integers(1, 3),
              st.sampled_from("abc")), max_size=5
)  # fmt: skip
drawn_records = st.lists(st.tuples(drawn_spans, drawn_spans), min_size=1, max_size=6)


def entities(spans):
    return [Entity(*span, "word") for span in outermost(spans)]


@given(drawn_records)
@REPEATABLE
def test_equal_to_scikit_learn_over_places(records):
    # Seen so, a place with its type is one example, and "no entity" the label that does not count.
    gold, found = [entities(true) for true, _ in records], [entities(said) for _, said in records]
    true_of = {(i, e.start, e.end): e.label for i, of in enumerate(gold) for e in of}
    said_of = {(i, e.start, e.end): e.label for i, of in enumerate(found) for e in of}
    # One more that is no entity to either, for scikit-learn refuses to look at nothing.
    places = [None, *sorted(true_of.keys() | said_of.keys())]
    result = scores(gold, found, ["a", "b", "c"])
    columns = [[of.get(place, "O") for place in places] for of in (true_of, said_of)]
    expected = precision_recall_fscore_support(*columns, labels=["a", "b", "c"], average="micro", zero_division=0)
    assert [result["metrics"][name]["value"] for name in ("precision", "recall", "f1")] == pytest.approx(expected[:3])
    by_type = precision_recall_fscore_support(*columns, labels=["a", "b", "c"], average=None, zero_division=0)
    rows = [[row["precision"], row["recall"], row["f1"], row["num_examples"]] for row in result["per_label"].values()]
    np.testing.assert_allclose(rows, np.transpose(by_type))


def test_intervals_are_over_records():
    gold = [by_tags("B-a")] * 30 + [by_tags("B-a B-b")] * 10
    found = [by_tags("B-a")] * 40
    f1 = scores(gold, found, ["a", "b"])["metrics"]["f1"]
    assert f1["value"] == pytest.approx(80 / 90)
    assert 0.83 < f1["low"] < f1["value"] < f1["high"] < 0.95
    perfect = scores(gold, gold, ["a", "b"])["metrics"]["f1"]
    assert perfect == {"value": 1, "low": 1, "high": 1}


def test_kinds_of_mistakes():
    ada, babbage, york, london = GOLD
    assert kind_of(ada, FOUND[0]) == "exact"
    assert kind_of(babbage, FOUND[1]) == "place"
    assert kind_of(york, FOUND[2]) == "type"
    assert kind_of(york, entity("York", "org")) == "both"
    assert kind_of(london, None) == "missed"


def test_partners_are_the_nearest_and_each_is_taken_once():
    ada, babbage, york, london = GOLD
    assert partners(GOLD, FOUND) == [
        (ada, FOUND[0]),
        (york, FOUND[2]),
        (babbage, FOUND[1]),
        (london, None),
        (None, FOUND[3]),
    ]
    whole, parts = entity("Ada Lovelace", "per"), [entity("Ada", "per"), entity("Lovelace", "per")]
    assert partners([whole], parts) == [(whole, parts[1]), (None, parts[0])]
    assert partners(parts, [whole]) == [(parts[1], whole), (parts[0], None)]
    # An exact one is not given away to one that overlaps more.
    exact, longer = entity("York", "loc"), entity("in New York", "loc")
    assert partners([exact, entity("New York", "loc")][:1], [longer, exact]) == [(exact, exact), (None, longer)]


@given(drawn_records)
@REPEATABLE
def test_every_entity_is_in_one_pair(records):
    for true, said in records:
        pairs = partners(entities(true), entities(said))
        assert sorted(t for t, _ in pairs if t) == entities(true)
        assert sorted(s for _, s in pairs if s) == entities(said)
        assert sum(bool(t and s and t.key == s.key) for t, s in pairs) == len(set(entities(true)) & set(entities(said)))


def test_findings():
    found = findings([GOLD, []], [FOUND, []], ["loc", "org", "per"])
    kinds, confused, lengths = found["tables"]
    assert [row[1] for row in kinds["rows"]] == [1, 1, 1, 0, 1, 1]
    assert [row[2] for row in kinds["rows"]] == ["25.0 %", "25.0 %", "25.0 %", "0.0 %", "25.0 %", "–"]
    assert confused["rows"] == [["loc", "org", 1, "New York"]]
    assert lengths["rows"] == [["1", 1, "0.0 %", 2, "0.0 %"], ["2", 3, "33.3 %", 2, "50.0 %"]]
    assert [figure["title"] for figure in found["figures"]] == ["Types", "By length of the entity"]
    assert all("<svg" in figure["svg"] for figure in found["figures"])
    filled = [b for b in found["reliability"]["bins"] if b["num_examples"]]
    assert [(b["num_examples"], b["accuracy"]) for b in filled] == [(1, 0), (1, 0), (2, 0.5)]
    assert found["reliability"]["calibration_error"] == pytest.approx((0.7 + 0.8 + abs(1.85 - 1)) / 4)


def test_worst_mistakes_in_words():
    right = entity("Ada Lovelace", "per")
    gold = [[right], [right], GOLD, [right], []]
    found = [[right], [], FOUND, [entity("Ada", "per", 0.4)], [entity("met", "loc", 0.6)]]
    worst = findings(gold, found, ["loc", "org", "per"])["worst"]
    assert list(worst) == [2, 4, 3, 1]
    assert worst[2]["probability"] == 0.95 and worst[2]["label_probability"] is None
    assert worst[2]["label"] == "Ada Lovelace [per]; Charles Babbage [per]; New York [loc]; London [loc]"
    assert worst[3]["predicted"] == "Ada [per]" and worst[4]["label"] == NOTHING
    assert (worst[1]["predicted"], worst[1]["probability"]) == (NOTHING, None)


def test_lengths_count_ideographs():
    gold = [
        [Entity(0, 4, "org", "浙商银行"), Entity(5, 15, "org", "AC Milan's")],
        [Entity(0, 30, "org", "a b c d e f g h")],
    ]
    rows = findings(gold, [[], []], ["org"])["tables"][1]["rows"]
    assert [row[:2] for row in rows] == [["4", 2], ["6 or more", 1]]


def test_nothing_at_all():
    found = findings([[], []], [[], []], ["a"])
    assert found["figures"] == [] and found["worst"] == {} and len(found["tables"]) == 1
    assert scores([[], []], [[], []], ["a"])["metrics"]["f1"] == {"value": 0, "low": 0, "high": 0}


def test_the_page_takes_the_findings(tmp_path):
    found = findings([GOLD], [FOUND], ["loc", "org", "per"])
    worst = found.pop("worst")
    details = found | {"mistakes": [{"text": TEXT, "where": "test.conll:1", **worst[0]}], "split": "test"}
    details = json.loads(json.dumps(details, default=lambda value: value.tolist()))
    report = {"task": "entities", "test": {"num_examples": 1, **scores([GOLD], [FOUND], ["loc", "org", "per"])}}
    report_page.render(report, details, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for words in (
        "right place, wrong type",
        "Confused types",
        "By length of the entity",
        "New York [org]",
        "test.conll:1",
    ):
        assert words in text
