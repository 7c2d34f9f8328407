"""Evaluation of question answering: the metrics, the threshold, and the tables and figures of the report."""

import json
import math

import numpy as np
import pytest
from support.predicted_answers import OFFICIAL, OFFICIAL_SCORES, PREDICTED, outputs_of

from tfbert.evaluation import answers, squad
from tfbert.evaluation.answers import METRICS, AnswerEvaluation, Gold, best_threshold

GOLD = [Gold(question, tuple(true)) for question, true, *_ in OFFICIAL]
ONE, TWO, NONE = Gold("q", ("one",)), Gold("q", ("two",)), Gold("q", ())


def test_scores_equal_the_official_script():
    scores = AnswerEvaluation(outputs_of(PREDICTED), GOLD, 0.0).scores()
    assert {name: score["value"] for name, score in scores["metrics"].items()} == pytest.approx(OFFICIAL_SCORES)
    for score in scores["metrics"].values():
        assert 0 <= score["low"] < score["value"] < score["high"] <= 1
    assert [metric.name for metric in METRICS] == list(scores["metrics"])
    assert scores["per_label"] == {}


def test_metrics_of_records_that_all_have_an_answer_or_all_have_none():
    evaluation = AnswerEvaluation(outputs_of(["one", "one"]), [ONE, TWO], math.inf)
    assert {name: score["value"] for name, score in evaluation.intervals().items()} == {"f1": 0.5, "exact_match": 0.5}
    assert evaluation.values() == {"f1": 0.5, "exact_match": 0.5}
    without_answers = AnswerEvaluation(outputs_of(["one", "one"]), [NONE, NONE], 0.0)
    assert list(without_answers.intervals()) == ["f1", "exact_match"]


def test_values_are_those_of_the_given_answers_whatever_the_margins():
    outputs = outputs_of(["one", "two", "x", "y"], [-4.0, -1.0, -0.5, 3.0])
    gold = [ONE, TWO, NONE, NONE]
    assert AnswerEvaluation(outputs, gold, 0.0).values()["f1"] == 0.5
    outputs["best_answer"] = np.array([b"one", b"two", b"", b""], object)
    assert AnswerEvaluation(outputs, gold, 0.0).values()["f1"] == 1.0
    assert AnswerEvaluation(outputs, [ONE] * 4, 0.0).values() == {"f1": 0.25, "exact_match": 0.25}


def test_the_best_threshold_separates_questions_with_and_without_an_answer():
    assert best_threshold(["one", "two", "x", "y"], np.array([-4.0, -1.0, -0.5, 3.0]), [ONE, TWO, NONE, NONE]) == -0.75


def test_the_threshold_is_infinite_if_every_question_has_an_answer():
    assert best_threshold(["one", "two"], np.array([5.0, -1.0]), [ONE, TWO]) == math.inf


def test_no_threshold_has_a_higher_f1():
    rng = np.random.default_rng(2)
    gold = [Gold("q", ("one two",) if rng.random() < 0.6 else ()) for _ in range(60)]
    outputs = outputs_of(rng.choice(["one two", "one", "no"], 60), rng.normal(size=60))
    spans, margins = [text.decode() for text in outputs["answer"][:, 0]], outputs["no_answer_margin"]

    def f1_at(threshold):
        texts = np.where(margins > threshold, "", spans)
        return np.mean([squad.f1(text, item.answers) for text, item in zip(texts, gold, strict=True)])

    best = f1_at(best_threshold(spans, margins, gold))
    assert best > f1_at(-3.0) and best > f1_at(3.0)
    assert all(f1_at(threshold) <= best + 1e-9 for threshold in np.linspace(-3, 3, 50))


def test_sections_of_the_report():
    outputs = outputs_of(PREDICTED, [-3, -2, 1, 2, -1])
    evaluation = AnswerEvaluation(outputs, GOLD, 0.5)
    report, mistakes = evaluation.sections(), evaluation.mistakes()
    assert mistakes == [4, 2, 1]  # lowest F1 first, then highest probability
    worst, second = evaluation.outcome(4), evaluation.outcome(2)
    assert (worst.gold, worst.predicted, worst.confidence) == ("(no answer)", "Ann", pytest.approx(0.5))
    assert worst.confused == (("(no answer)", "(answer)"),)
    assert (second.predicted, second.confidence, second.predicted_spans) == ("(no answer)", pytest.approx(0.05), ())
    assert [table["title"] for table in report["tables"]] == ["Scores by question word", "Scores by answer length"]
    assert ["who", 2, "50.0 %", "50.0 %"] in report["tables"][0]["rows"]
    assert sum(row["num_examples"] for row in report["reliability"]["bins"]) == 5
    assert "in use: 0.50" in report["figures"][0]["svg"]
    json.dumps(report, default=lambda value: value.tolist(), allow_nan=False)


def test_no_threshold_figure_without_a_threshold():
    report = AnswerEvaluation(outputs_of(PREDICTED), GOLD, math.inf).sections()
    assert report["figures"] == []
    json.dumps(report, default=lambda value: value.tolist(), allow_nan=False)


def test_the_threshold_figure_omits_huge_margins():
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


def test_question_word_table_starts_with_the_most_frequent():
    table = answers.question_word_table(SCORES, ["Who?", "What is it?", "What?", "so what"])
    assert table["rows"] == [["what", 3, "41.7 %", "0.0 %"], ["who", 1, "100.0 %", "100.0 %"]]


def test_length_table_uses_the_first_answer():
    table = answers.length_table(SCORES, [[], ["a b c"], ["a", "b c d"], ["1 2 3 4 5 6 7 8 9 10 11"]])
    assert table["rows"] == [
        ["no answer", 1, "100.0 %", "100.0 %"],
        ["1 word", 1, "0.0 %", "0.0 %"],
        ["3 to 5 words", 1, "50.0 %", "0.0 %"],
        ["more than 10 words", 1, "75.0 %", "0.0 %"],
    ]


def test_the_answers_of_other_libraries_are_scored_without_further_outputs():
    outputs = {"best_answer": np.array([b"the house", b"two cars"], object)}
    gold = [Gold("q", ("house",)), Gold("q", ("one car", "two"))]
    scores = AnswerEvaluation(outputs, gold, np.inf).values()
    assert scores["exact_match"] == 0.5 and scores["f1"] == pytest.approx((1 + 2 / 3) / 2)
