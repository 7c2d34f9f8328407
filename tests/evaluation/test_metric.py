"""Metrics: the declared direction, formatting and JSON; evaluations: scores of resampled records and outcomes."""

import numpy as np
import pytest

from tfbert.evaluation.answers import AnswerEvaluation, Gold
from tfbert.evaluation.choices import ChoiceEvaluation
from tfbert.evaluation.classification import LabelEvaluation
from tfbert.evaluation.entities import Entity, EntityEvaluation
from tfbert.evaluation.labelsets import LabelSetEvaluation
from tfbert.evaluation.metric import LabelledSpan, Metric, Outcome, main_metric
from tfbert.evaluation.ranking import RankingEvaluation
from tfbert.evaluation.similarity import SimilarityEvaluation
from tfbert.evaluation.values import ValueEvaluation

# Names without words such as "loss" or "error", from which the direction cannot be guessed.
LOWER = ["rmse", "brier", "wer"]


@pytest.mark.parametrize("name", LOWER)
def test_the_direction_is_declared_for_any_name(name):
    metric = Metric(name, "lower", "target", "distance")
    assert metric.sign == -1
    assert metric.meaning == "distance; lower is better"


def test_format_by_unit():
    accuracy = Metric("accuracy", "higher", "fraction", "hits")
    assert (accuracy.sign, accuracy.meaning) == (1, "hits")
    assert accuracy.format(0.925) == "92.5 %"
    assert Metric("loss", "lower", "nats", "cross-entropy").format(0.23456) == "0.235"
    assert accuracy.format(None) == accuracy.format(float("nan")) == "–"


def test_intervals_spreads_and_differences_by_unit():
    accuracy = Metric("accuracy", "higher", "fraction", "fraction of correct predictions")
    loss = Metric("loss", "lower", "nats", "cross-entropy")
    assert accuracy.format_interval(0.91, 0.94) == "91.0 to 94.0 %"
    assert accuracy.format_interval(0.91, 0.94, with_unit=False) == "91.0 to 94.0"
    assert loss.format_interval(0.2, 0.3) == "0.200 to 0.300"
    assert accuracy.format_interval(None, 0.94) == accuracy.format_interval(0.91, None) == ""
    assert accuracy.format_spread(0.924, 0.003) == "92.4 ± 0.3 %"
    assert accuracy.format_spread(0.924, 0.003, with_unit=False) == "92.4 ± 0.3"
    assert [accuracy.format_difference(value) for value in (0.031, -0.031)] == ["3.1 points", "-3.1 points"]
    assert (accuracy.format_difference(0.031, "+"), loss.format_difference(0.5, "+")) == ("+3.1 points", "+0.500")
    assert accuracy.format_difference_interval(-0.005, 0.057) == "-0.5 to 5.7"
    assert loss.format_difference_interval(0.3, 0.7) == "0.300 to 0.700"


def test_title_is_the_name_with_spaces_unless_declared():
    assert Metric("recall_at_5", "higher", "fraction", "hits").title == "recall at 5"
    assert Metric("macro_f1", "higher", "fraction", "mean F1", title="macro F1").title == "macro F1"


def test_json_round_trip():
    for every_epoch in (True, False):
        metric = Metric("rmse", "lower", "target", "distance", every_epoch)
        assert Metric.from_json(metric.to_json()) == metric


def test_the_main_metric():
    loss, f1 = Metric("loss", "lower", "nats", ""), Metric("f1", "higher", "fraction", "")
    mcc, hits = Metric("mcc", "higher", "correlation", ""), Metric("hits", "higher", "fraction", "", expectation="x")
    assert main_metric([loss, f1, mcc], None) == f1 and main_metric([loss], "f1") == loss
    assert main_metric([loss, f1, mcc], "mcc") == mcc and main_metric([loss, f1, hits], "f1") == hits


PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.1, 0.4], [0.2, 0.2, 0.6]], np.float32)
TRUE_VALUES, PREDICTED_VALUES = np.array([1.0, 2.0, 3.0, 4.5]), np.array([1.5, 2.0, 5.0, 4.0])
NEW_YORK, PARIS = Entity(0, 8, "place", "New York"), Entity(12, 17, "place", "Paris")


def labels():
    return LabelEvaluation(PROBABILITIES.argmax(1), PROBABILITIES, [0, 1, 2, 2], ["a", "b", "c"])


def choices():
    texts = [("w", "x", "y"), ("x", "y", "z"), ("p", "q", "r"), ("s", "t", "u")]
    return ChoiceEvaluation(PROBABILITIES.argmax(1), PROBABILITIES, gold=np.array([0, 1, 2, 2]), choices=texts)


def values():
    return ValueEvaluation(PREDICTED_VALUES, TRUE_VALUES, scale=2.0)


def similarities():
    return SimilarityEvaluation(PREDICTED_VALUES, TRUE_VALUES)


def label_sets():
    gold = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]], bool)
    thresholds, sources = np.array([0.5, 0.5, 0.5], np.float32), np.zeros(3, np.int32)
    return LabelSetEvaluation(PROBABILITIES, gold, labels=["a", "b", "c"], thresholds=thresholds, sources=sources)


def rankings():
    answers = np.array([[b"x", b"a"], [b"b", b"y"], [b"x", b"y"], [b"x", b"a"]], object)
    gold = [("q1", "a"), ("q2", "b"), ("q3", "c"), ("q1", "a")]
    return RankingEvaluation(answers, np.array([[0.9, 0.8]] * 4, np.float32), gold, -1.0)


def entities():
    gold = [[NEW_YORK, PARIS], [], [PARIS], [NEW_YORK]]
    return EntityEvaluation([[NEW_YORK], [], [NEW_YORK], [NEW_YORK]], gold, ["place"])


def answers():
    gold = [("red car", (3, 10)), ("blue", (0, 4)), None, None]
    outputs = {
        "answer": np.array([[b"red"], [b"blue"], [b"green"], [b"old"]], object),
        "best_answer": np.array([b"red", b"blue", b"green", b""], object),
        "start": np.array([[3], [0], [7], [9]]),
        "end": np.array([[6], [4], [12], [12]]),
        "probability": np.array([[0.9], [0.8], [0.7], [0.2]], np.float32),
        "no_answer_probability": np.array([0.1, 0.2, 0.3, 0.75], np.float32),
        "no_answer_margin": np.array([-2.0, -1.0, -0.5, 1.0], np.float32),
    }
    golds = [Gold("what?", (g[0],), (LabelledSpan(*g[1]),)) if g else Gold("what?", ()) for g in gold]
    return AnswerEvaluation(outputs, golds, 0.0)


# An evaluation of four records, the scores of the records, and the outcome of the first one.
EVALUATIONS = {
    "classification": (
        labels,
        [1, 1, 0, 1],
        Outcome("a", "a", pytest.approx(0.7), gold_probability=pytest.approx(0.7)),
    ),
    "choices": (choices, [1, 1, 0, 1], Outcome("w", "w", pytest.approx(0.7), gold_probability=pytest.approx(0.7))),
    "values": (values, [0.75, 1, 0, 0.75], Outcome("1", "1.5")),
    "similarity": (similarities, [1, 1, 0.75, 0.75], Outcome("1", "1.5")),
    "label sets": (label_sets, [1, 2 / 3, 0, 1], Outcome("a", "a", note="a 70.0 %")),
    "ranking": (rankings, [0.5, 1, 0, 0.5], Outcome("a", "x")),
    "entities": (
        entities,
        [2 / 3, 1, 0, 1],
        Outcome(
            "New York [place]; Paris [place]",
            "New York [place]",
            None,
            (LabelledSpan(0, 8, "place"), LabelledSpan(12, 17, "place")),
            (LabelledSpan(0, 8, "place"),),
            confused=(("place", "(none)"),),
        ),
    ),
    "answers": (
        answers,
        [2 / 3, 1, 0, 1],
        Outcome(
            "red car",
            "red",
            pytest.approx(0.9),
            (LabelledSpan(3, 10),),
            (LabelledSpan(3, 6),),
            confused=(("(answer)",) * 2,),
        ),
    ),
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_scores_of_all_records_as_a_function_of_records(name):
    evaluation = EVALUATIONS[name][0]()
    reported = {metric: score["value"] for metric, score in evaluation.intervals().items()} | evaluation.values()
    functions = evaluation.score_functions()
    assert functions.keys() == reported.keys()
    scores = {metric: function(np.arange(4)) for metric, function in functions.items()}
    assert scores == pytest.approx(reported)
    changed = [metric for metric, function in functions.items() if function(np.array([2, 2, 3])) != scores[metric]]
    assert changed == list(functions)


@pytest.mark.parametrize("name", EVALUATIONS)
def test_scores_and_outcomes_of_single_records(name):
    make, scores, outcome = EVALUATIONS[name]
    assert make().record_scores() == pytest.approx(scores)
    assert make().outcome(0) == outcome


def test_a_question_without_an_answer():
    assert answers().outcome(3) == Outcome(
        "(no answer)", "(no answer)", pytest.approx(0.75), confused=(("(no answer)",) * 2,)
    )


def test_records_with_a_repeated_question_count_as_one():
    score = rankings().score_functions()["mrr_at_10"]
    assert score(np.array([0, 3, 1])) == score(np.array([0, 0, 1])) == pytest.approx((0.5 + 1) / 2)
