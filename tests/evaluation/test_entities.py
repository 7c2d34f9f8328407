"""Evaluation of named-entity recognition: exact spans as in conlleval and seqeval, and the tables of the report."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from tfbert.evaluation import report_page
from tfbert.evaluation.entities import FUNCTIONS, METRICS, NONE, Entity, EntityEvaluation, count, kind_of, pair_entities
from tfbert.text.spans import Span, outermost, spans_of_tags

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=50)
TEXT = "Ada Lovelace met Charles Babbage in New York, London."
WORDS = ["Ada", "Lovelace", "met", "Charles", "Babbage", "in", "New", "York", ",", "London", "."]


def entity(words, label, probability=1.0):
    start = TEXT.index(words)
    return Entity(start, start + len(words), label, words, probability)


def by_tags(tags):
    """Return the entities of IOB2 tags, with words as the unit of positions."""
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
PREDICTED = [
    entity("Ada Lovelace", "per", 0.9),
    entity("Babbage", "per", 0.8),  # right type, overlapping span
    entity("New York", "org", 0.7),  # right span, wrong type
    entity("met", "loc", 0.95),  # no true entity
]


@pytest.mark.parametrize(
    ("true", "predicted", "precision", "recall", "f1"),
    [
        # From the numbers of correct, guessed and true phrases that conlleval prints.
        ("B-a I-a O B-b", "B-a I-a O B-b", 1, 1, 1),
        ("B-a I-a O B-b", "B-a O O B-b", 1 / 2, 1 / 2, 1 / 2),  # only a part of the entity
        ("B-a I-a O B-b", "B-a I-a O B-a", 1 / 2, 1 / 2, 1 / 2),  # wrong type
        ("B-a I-a O O", "B-a B-a O O", 0, 0, 0),  # two predicted for one
        ("B-a B-a O O", "B-a I-a O O", 0, 0, 0),  # one predicted for two
        ("B-a O B-a O", "B-a O O O", 1, 1 / 2, 2 / 3),
        ("B-a O O O", "B-a O B-b B-b", 1 / 3, 1, 1 / 2),
        ("O O O O", "O O O O", 0, 0, 0),  # no entities at all
        ("O O O O", "B-a O O O", 0, 0, 0),
        ("B-a O O O", "O O O O", 0, 0, 0),
    ],
)
def test_exact_spans_count(true, predicted, precision, recall, f1):
    counts = count([by_tags(true)], [by_tags(predicted)])
    values = {name: function(counts) for name, function in FUNCTIONS.items()}
    assert values == pytest.approx({"precision": precision, "recall": recall, "f1": f1})


def test_entities_of_all_records_are_pooled():
    gold, predicted = [by_tags("B-a O B-a"), by_tags("B-b")], [by_tags("B-a O O"), by_tags("B-a")]
    result = EntityEvaluation(predicted, gold, ["a", "b"]).scores()
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
def test_scores_equal_scikit_learn_over_spans(records):
    # Each span is one example whose label is its type; the label "O", no entity, is not counted.
    gold, predicted = zip(*[(entities(true), entities(guessed)) for true, guessed in records], strict=True)
    true_labels = {(i, e.start, e.end): e.label for i, record in enumerate(gold) for e in record}
    predicted_labels = {(i, e.start, e.end): e.label for i, record in enumerate(predicted) for e in record}
    # `None` is a span without an entity, because scikit-learn rejects empty inputs.
    spans = [None, *sorted(true_labels.keys() | predicted_labels.keys())]
    result = EntityEvaluation(predicted, gold, ["a", "b", "c"]).scores()
    columns = [[labels.get(span, "O") for span in spans] for labels in (true_labels, predicted_labels)]
    expected = precision_recall_fscore_support(*columns, labels=["a", "b", "c"], average="micro", zero_division=0)
    assert [result["metrics"][name]["value"] for name in ("precision", "recall", "f1")] == pytest.approx(expected[:3])
    by_type = precision_recall_fscore_support(*columns, labels=["a", "b", "c"], average=None, zero_division=0)
    rows = [[row["precision"], row["recall"], row["f1"], row["num_examples"]] for row in result["per_label"].values()]
    np.testing.assert_allclose(rows, np.transpose(by_type))


def test_intervals_are_over_records():
    gold = [by_tags("B-a")] * 30 + [by_tags("B-a B-b")] * 10
    f1 = EntityEvaluation([by_tags("B-a")] * 40, gold, ["a", "b"]).intervals()["f1"]
    assert f1["value"] == pytest.approx(80 / 90)
    assert 0.83 < f1["low"] < f1["value"] < f1["high"] < 0.95
    perfect = EntityEvaluation(gold, gold, ["a", "b"]).intervals()["f1"]
    assert perfect == {"value": 1, "low": pytest.approx(0.9119, abs=1e-4), "high": 1}


def test_kinds_of_mistakes():
    ada, babbage, york, london = GOLD
    assert kind_of(ada, PREDICTED[0]) == "exact"
    assert kind_of(babbage, PREDICTED[1]) == "span"
    assert kind_of(york, PREDICTED[2]) == "type"
    assert kind_of(york, entity("York", "org")) == "both"
    assert kind_of(london, None) == "missed"


def test_entities_with_the_largest_overlap_are_paired_once():
    ada, babbage, york, london = GOLD
    assert pair_entities(GOLD, PREDICTED) == [
        (ada, PREDICTED[0]),
        (york, PREDICTED[2]),
        (babbage, PREDICTED[1]),
        (london, None),
        (None, PREDICTED[3]),
    ]
    whole, halves = entity("Ada Lovelace", "per"), [entity("Ada", "per"), entity("Lovelace", "per")]
    assert pair_entities([whole], halves) == [(whole, halves[1]), (None, halves[0])]
    assert pair_entities(halves, [whole]) == [(halves[1], whole), (halves[0], None)]
    # Exact matches have priority over larger overlaps.
    exact, longer = entity("York", "loc"), entity("in New York", "loc")
    assert pair_entities([exact, entity("New York", "loc")][:1], [longer, exact]) == [(exact, exact), (None, longer)]


@given(drawn_records)
@REPEATABLE
def test_every_entity_is_in_one_pair(records):
    for true, predicted in records:
        pairs = pair_entities(entities(true), entities(predicted))
        assert sorted(t for t, _ in pairs if t) == entities(true)
        assert sorted(p for _, p in pairs if p) == entities(predicted)
        num_exact = len(set(entities(true)) & set(entities(predicted)))
        assert sum(bool(t and p and t.key == p.key) for t, p in pairs) == num_exact


def sections(gold, predicted, types):
    return EntityEvaluation(predicted, gold, types).sections()


def test_sections_of_the_report():
    report = sections([GOLD, []], [PREDICTED, []], ["loc", "org", "per"])
    kinds, confused, lengths = report["tables"]
    assert [row[1] for row in kinds["rows"]] == [1, 1, 1, 0, 1, 1]
    assert [row[2] for row in kinds["rows"]] == ["25.0 %", "25.0 %", "25.0 %", "0.0 %", "25.0 %", "–"]
    assert confused["rows"] == [["loc", "org", 1, "New York"]]
    assert lengths["rows"] == [["1", 1, "0.0 %", 2, "0.0 %"], ["2", 3, "33.3 %", 2, "50.0 %"]]
    assert [figure["title"] for figure in report["figures"]] == [
        "Confusion matrix of the types",
        "Recall and precision by entity length",
    ]
    assert all("<svg" in figure["svg"] for figure in report["figures"])
    filled = [b for b in report["reliability"]["bins"] if b["num_examples"]]
    assert [(b["num_examples"], b["accuracy"]) for b in filled] == [(1, 0), (1, 0), (2, 0.5)]
    assert report["reliability"]["calibration_error"] == pytest.approx((0.7 + 0.8 + abs(1.85 - 1)) / 4)


def test_mistakes_list_the_entities():
    right = entity("Ada Lovelace", "per")
    gold = [[right], [right], GOLD, [right], []]
    predicted = [[right], [], PREDICTED, [entity("Ada", "per", 0.4)], [entity("met", "loc", 0.6)]]
    evaluation = EntityEvaluation(predicted, gold, ["loc", "org", "per"])
    assert evaluation.mistakes() == [2, 4, 3, 1]
    outcomes = [evaluation.outcome(record) for record in range(5)]
    assert outcomes[2].confidence == 0.95
    assert outcomes[2].gold == "Ada Lovelace [per]; Charles Babbage [per]; New York [loc]; London [loc]"
    assert outcomes[3].predicted == "Ada [per]" and outcomes[4].gold == NONE
    assert (outcomes[1].predicted, outcomes[1].confidence) == (NONE, None)
    assert [outcomes[index].confused for index in (0, 4, 3, 1)] == [
        (), ((NONE, "loc"),), (("per", "per"),), (("per", NONE),),
    ]  # fmt: skip


def test_lengths_count_ideographs():
    gold = [
        [Entity(0, 4, "org", "浙商银行"), Entity(5, 15, "org", "AC Milan's")],
        [Entity(0, 30, "org", "a b c d e f g h")],
    ]
    rows = sections(gold, [[], []], ["org"])["tables"][1]["rows"]
    assert [row[:2] for row in rows] == [["4", 2], ["6 or more", 1]]


def test_no_entities():
    evaluation = EntityEvaluation([[], []], [[], []], ["a"])
    report = evaluation.sections()
    assert report["figures"] == [] and evaluation.mistakes() == [] and len(report["tables"]) == 1
    assert evaluation.intervals()["f1"] == {"value": 0, "low": 0, "high": pytest.approx(0.8419, abs=1e-4)}


def test_metrics_are_declared_in_the_order_of_the_report():
    evaluation = EntityEvaluation([PREDICTED], [GOLD], ["loc", "org", "per"])
    names = [metric.name for metric in METRICS]
    assert names == list(evaluation.values()) == list(evaluation.intervals()) == ["f1", "precision", "recall"]
    assert evaluation.values() == pytest.approx({n: v["value"] for n, v in evaluation.intervals().items()})


def test_the_page_shows_the_sections(tmp_path):
    evaluation = EntityEvaluation([PREDICTED], [GOLD], ["loc", "org", "per"])
    details = evaluation.sections()
    mistake = dataclasses.asdict(evaluation.outcome(0))
    details |= {"mistakes": [{"texts": [TEXT], "where": "test.conll:1", **mistake}], "split": "test"}
    details = json.loads(json.dumps(details, default=lambda value: value.tolist()))
    test = {"num_examples": 1, **evaluation.scores()}
    report = {"task": "entities", "test": test, "metrics": [metric.to_json() for metric in METRICS]}
    report_page.render(report, details, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for words in (
        "right span, wrong type",
        "Confused types",
        "Recall and precision by entity length",
        "New York [org]",
        "test.conll:1",
    ):
        assert words in text
