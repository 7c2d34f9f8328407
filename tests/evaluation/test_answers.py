"""Evaluation of extracted answers: the metrics, the threshold, and the tables and figures of the report."""

import json
import math

import numpy as np
import pytest
from support.predicted_answers import OFFICIAL, OFFICIAL_SCORES, PREDICTED, outputs_of

from tfbert.evaluation import answers, squad
from tfbert.evaluation.answers import METRICS, AnswerEvaluation, Gold, best_threshold

GOLD = [Gold(question, tuple(true)) for question, true, *_ in OFFICIAL]
ONE, TWO, NONE = Gold("q", ("one",)), Gold("q", ("two",)), Gold("q", ())


def test_the_official_numbers():
    scores = AnswerEvaluation(outputs_of(PREDICTED), GOLD, 0.0).scores()
    assert {name: score["value"] for name, score in scores["metrics"].items()} == pytest.approx(OFFICIAL_SCORES)
    for score in scores["metrics"].values():
        assert 0 <= score["low"] < score["value"] < score["high"] <= 1
    assert [metric.name for metric in METRICS] == list(scores["metrics"])
    assert scores["per_label"] == {}


def test_one_kind_of_question_has_no_scores_by_kind():
    evaluation = AnswerEvaluation(outputs_of(["one", "one"]), [ONE, TWO], math.inf)
    assert {name: score["value"] for name, score in evaluation.intervals().items()} == {"f1": 0.5, "exact_match": 0.5}
    assert evaluation.values() == {"f1": 0.5, "exact_match": 0.5}
    nothing = AnswerEvaluation(outputs_of(["one", "one"]), [NONE, NONE], 0.0)
    assert list(nothing.intervals()) == ["f1", "exact_match"]


def test_values_use_the_threshold_that_is_best_for_the_records():
    outputs = outputs_of(["one", "two", "x", "y"], [-4.0, -1.0, -0.5, 3.0])
    gold = [ONE, TWO, NONE, NONE]
    assert best_threshold(["one", "two", "x", "y"], outputs["no_answer_margin"], gold) == -0.75
    for threshold in (0.0, math.inf):
        assert AnswerEvaluation(outputs, gold, threshold).values()["f1"] == 1.0
    assert AnswerEvaluation(outputs, [ONE] * 4, 0.0).values() == {"f1": 0.25, "exact_match": 0.25}


def test_there_is_no_threshold_where_every_question_has_an_answer():
    assert best_threshold(["one", "two"], np.array([5.0, -1.0]), [ONE, TWO]) == math.inf


def test_values_are_not_below_those_of_any_threshold():
    rng = np.random.default_rng(2)
    gold = [Gold("q", ("one two",) if rng.random() < 0.6 else ()) for _ in range(60)]
    outputs = outputs_of(rng.choice(["one two", "one", "no"], 60), rng.normal(size=60))
    best = AnswerEvaluation(outputs, gold, 0.0).values()["f1"]
    for threshold in np.linspace(-3, 3, 50):
        texts = np.where(outputs["no_answer_margin"] > threshold, b"", outputs["answer"][:, 0])
        f1 = [squad.f1(text.decode(), item.answers) for text, item in zip(texts, gold, strict=True)]
        assert np.mean(f1) <= best + 1e-9


def test_sections_of_the_report():
    outputs = outputs_of(PREDICTED, [-3, -2, 1, 2, -1])
    found = AnswerEvaluation(outputs, GOLD, 0.5).sections()
    assert list(found["worst"]) == [4, 2, 1]  # nothing right first, then the most probable first
    assert found["worst"][4] == {
        "label": "(no answer)", "predicted": "Ann", "probability": pytest.approx(0.5), "label_probability": None
    }  # fmt: skip
    assert found["worst"][2]["predicted"] == "(no answer)"
    assert found["worst"][2]["probability"] == pytest.approx(0.05)
    assert [table["title"] for table in found["tables"]] == ["By question word", "By length of the answer"]
    assert ["who", 2, "50.0 %", "50.0 %"] in found["tables"][0]["rows"]
    assert sum(row["num_examples"] for row in found["reliability"]["bins"]) == 5
    assert "in use: 0.50" in found["figures"][0]["svg"]
    json.dumps(found, default=lambda value: value.tolist(), allow_nan=False)


def test_without_a_threshold_there_is_no_figure_of_it():
    found = AnswerEvaluation(outputs_of(PREDICTED), GOLD, math.inf).sections()
    assert found["figures"] == []
    json.dumps(found, default=lambda value: value.tolist(), allow_nan=False)


def test_the_figure_names_its_lines_and_leaves_out_margins_beyond_reason():
    margins = np.array([-2.0, 0.0, 1.0, 1e9])
    curve = squad.threshold_curve(margins, np.ones(4), np.array([True, False, True, False]))
    drawing = str(answers.threshold_figure(curve, 0.25)["svg"])
    for text in ("all questions", "with an answer", "without an answer", "in use: 0.25"):
        assert text in drawing
    assert "1e9" not in drawing and "000000" not in drawing.replace("#000000", "")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How many legs has a spider?", "how many"),
        ("In what year, and how, did it end?", "what"),
        ("To whom was it sold?", "whom"),
        ("Who's there?", "who"),
        ("The somewhat whole shown?", "other"),
        ("谁来了?", "other"),
    ],
)
def test_question_word(question, expected):
    assert answers.question_word(question) == expected


SCORES = {"f1": np.array([1.0, 0.5, 0.0, 0.75]), "exact_match": np.array([1.0, 0.0, 0.0, 0.0])}


def test_table_by_question_word_begins_with_the_most_frequent():
    table = answers.by_question_word(SCORES, ["Who?", "What is it?", "What?", "so what"])
    assert table["rows"] == [["what", 3, "41.7 %", "0.0 %"], ["who", 1, "100.0 %", "100.0 %"]]


def test_table_by_length_goes_by_the_first_answer():
    table = answers.by_length(SCORES, [[], ["a b c"], ["a", "b c d"], ["1 2 3 4 5 6 7 8 9 10 11"]])
    assert table["rows"] == [
        ["no answer", 1, "100.0 %", "100.0 %"],
        ["1 word", 1, "0.0 %", "0.0 %"],
        ["3 to 5 words", 1, "50.0 %", "0.0 %"],
        ["more than 10 words", 1, "75.0 %", "0.0 %"],
    ]
