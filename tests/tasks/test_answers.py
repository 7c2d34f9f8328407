"""Answers: file layouts, fitting, options, the threshold, and the official scores of SQuAD."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf
from support.predicted_answers import OFFICIAL, OFFICIAL_SCORES, PREDICTED, outputs_of

from tfbert.config import Config, DataConfig, override
from tfbert.evaluation.answers import Gold
from tfbert.evaluation.metric import LabelledSpan
from tfbert.tasks.answers import TASK, AnswersOptions, FittedAnswers
from tfbert.tasks.base import fitted_from_json
from tfbert.tasks.base_answer_decision import AnswerDecision
from tfbert.tasks.base_config import used_options
from tfbert.tasks.base_decision import Predicted
from tfbert.text.records import Record, read_records

CONTEXT = "The cat sat on the mat. The dog sat on the log, and the cat slept."
OPTIONS = AnswersOptions()
FITTED = FittedAnswers(options=OPTIONS, max_pieces=30, whole_words=True, has_unanswerable=True)


# File layouts


def at(text, start=None, context=CONTEXT):
    start = context.index(text) if start is None else start
    return {"text": text, "answer_start": start}


def read(path):
    return list(read_records(path, DataConfig(), TASK.schema))


def test_squads_layout(tmp_path):
    answered = {"id": "q1", "question": "Who slept?", "answers": [at("cat", 56), at("the cat", 52), at("cat", 56)]}
    unanswerable = {
        "id": "q2",
        "question": "Who flew?",
        "answers": [],
        "is_impossible": True,
        "plausible_answers": [at("log")],
    }
    paragraph = {"context": CONTEXT, "qas": [answered, unanswerable]}
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "t", "paragraphs": [paragraph]}]}))
    first, second = read(path)
    assert (first.text, first.others, first.group, first.where) == ("Who slept?", (CONTEXT,), CONTEXT, "train.json:q1")
    assert (first.target, second.target) == (((56, 59), (52, 59)), ())
    assert FITTED.gold(first) == Gold("Who slept?", ("cat", "the cat"), (LabelledSpan(56, 59), LabelledSpan(52, 59)))
    assert FITTED.gold(second) == Gold("Who flew?", ())
    assert TASK.truth_of(first) == [
        {"text": "cat", "start": 56, "end": 59},
        {"text": "the cat", "start": 52, "end": 59},
    ]
    assert TASK.truth_of(second) == []
    assert FITTED.inputs_of(first) == {"question": "Who slept?", "context": CONTEXT}


@pytest.mark.parametrize(
    ("flag", "is_true"),
    [
        (True, True), ("true", True), ("True", True), (1, True), ("1", True),
        (False, False), ("False", False), ("false", False), (0, False), ("0", False), (0.0, False), (None, False),
        ("", False), (float("nan"), False), ("nan", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("layout", ["squad", "jsonl"])
def test_an_impossible_question_has_no_answer_in_any_layout(tmp_path, layout, flag, is_true):
    question = {"id": "q1", "question": "Who slept?", "is_impossible": flag}
    for answers in ([], [at("cat", 56)]):
        item = question | {"answers": answers}
        if layout == "squad":
            document, where = {"data": [{"paragraphs": [{"context": CONTEXT, "qas": [item]}]}]}, "train.json:q1"
        else:
            document, where = item | {"context": CONTEXT}, "train.jsonl:1"
        path = tmp_path / where.partition(":")[0]
        path.write_text(json.dumps(document))
        if is_true and answers:
            with pytest.raises(ValueError) as caught:
                read(path)
            problem = "is_impossible is true, but the question has the answer 'cat'; remove one of them"
            assert str(caught.value) == f"{where}: {problem}"
        else:
            assert [record.target for record in read(path)] == [((56, 59),) if answers else ()]


@pytest.mark.parametrize("flag", ["maybe", 2, [], {"a": 1}])
def test_another_flag_is_rejected(tmp_path, flag):
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"question": "Who?", "context": CONTEXT, "answers": [], "is_impossible": flag}))
    with pytest.raises(ValueError, match=r"train.jsonl:1: is_impossible is .*; expected true or false"):
        read(path)


@pytest.mark.parametrize(
    "cell",
    [
        '{"text": ["cat"], "answer_start": [56]}',
        "{'text': ['cat'], 'answer_start': [56]}",
        "{'text': array(['cat'], dtype=object), 'answer_start': array([56])}",
        '[{"text": "cat", "answer_start": 56}]',
    ],
)
def test_a_cell_may_hold_the_answers_of_json(tmp_path, cell):
    path = tmp_path / "train.csv"
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows([("question", "context", "answers"), ("Who?", CONTEXT, cell)])
    assert [record.target for record in read(path)] == [((56, 59),)]


def test_errors_name_the_line(tmp_path):
    path = tmp_path / "train.jsonl"
    good = {"question": "Who?", "context": CONTEXT, "answers": ["The dog"]}
    path.write_text("\n".join(map(json.dumps, [good, good | {"answers": [at("dog", 3)]}])))
    with pytest.raises(
        ValueError, match=r"train.jsonl:2: answer 'dog' is not at answer_start 3, .*nearest occurrence is at 28"
    ):
        read(path)
    path.write_text(json.dumps(good | {"question": "  "}))
    with pytest.raises(ValueError, match=r"train.jsonl:1: question is '  '; expected at least one"):
        read(path)
    path.write_text(json.dumps(good | {"context": None}))
    with pytest.raises(ValueError, match=r"train.jsonl:1: context is null; expected a string"):
        read(path)


def test_a_table_of_answers(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text('question,context,answer,start\nWho?,"a b, a",a,5\nWho?,"a b, a",b,\nWho?,"a b, a",,\n')
    assert [record.target for record in read(path)] == [((5, 6),), ((2, 3),), ()]


# Fitting


def test_fitting():
    def record(*spans, context="x" * 700):
        return Record("q", spans, "here", (context,))

    def fit(*records):
        return TASK.fit(iter(records), OPTIONS)

    assert fit(record((0, 5)), record((3, 60))) == FittedAnswers(
        options=OPTIONS, max_pieces=30, whole_words=False, has_unanswerable=False
    )
    assert fit(record((0, 5)), record()).has_unanswerable
    # Long words have several pieces, and characters of other scripts one each. One answer in a hundred may be longer.
    assert fit(record((0, 600))).max_pieces == 100
    assert fit(record((0, 45), context="字" * 50)).max_pieces == 45
    assert fit(*[record((0, 5))] * 995, *[record((0, 600))] * 5).max_pieces == 30
    records = [record((index, index + 3), context="one or two, one or " + "one" * 60) for index in (0, 4, 7, 19, 19)]
    assert fit(*records[:3]).whole_words
    assert not fit(*records).whole_words
    assert fit(*records[:1] * 199, *records[3:]).whole_words
    with pytest.raises(ValueError, match="train has no question with an answer"):
        fit(record(), record())


def test_stored_and_restored():
    options = AnswersOptions(
        dropout=0.3,
        part_tokens=7,
        head_learning_rate_factor=2.0,
        label_smoothing=0.1,
        class_weights="balanced",
        window_overlap_fraction=0.5,
        sequence_length=48,
    )
    task = FittedAnswers(options=options, max_pieces=31, whole_words=True, has_unanswerable=True)
    assert fitted_from_json(json.loads(json.dumps(task.to_json()))) == task


def test_options_that_answers_use():
    learning = {"train.part_tokens", "train.head_learning_rate_factor", "train.label_smoothing", "head.dropout"}
    # Other options that only some tasks use, such as head.pooling, are rejected; all tasks use the sequence length.
    calibration = {"data.calibration", "data.calibration_fraction"}
    others = {"train.class_weights", "encoder.window_overlap_fraction"}
    assert used_options(TASK) == learning | calibration | others
    config = override(Config(task="answers"), TASK.defaults | {"train.class_weights": "balanced"})
    assert AnswersOptions.from_config(config) == AnswersOptions(class_weights="balanced", sequence_length=384)


def test_sequences_too_short_for_a_question_and_a_context():
    for length in (16, 15):
        config = override(Config(task="answers"), {"encoder.sequence_length": length})
        if length == 16:
            assert AnswersOptions.from_config(config).sequence_length == 16
        else:
            with pytest.raises(ValueError) as caught:
                AnswersOptions.from_config(config)
            assert str(caught.value) == (
                "encoder.sequence_length=15: expected 16 or more, for a question and a part of its context"
            )


@pytest.mark.parametrize(("dropout", "is_exact"), [(0.0, True), (0.5, False)])
def test_the_head_has_the_options_dropout(dropout, is_exact):
    options = AnswersOptions(dropout=dropout)
    head = FittedAnswers(options=options, max_pieces=30, whole_words=True, has_unanswerable=True).head(seed=3)
    head.build(4)
    encoded = {"sequence_output": tf.random.stateless_normal((2, 5, 4), (0, 1))}
    scores = head(encoded, {})
    assert scores.shape == (2, 5, 2)
    assert np.array_equal(head(encoded, {}, training=True), scores) is is_exact
    same = FITTED.head(seed=3)
    same.build(4)
    np.testing.assert_array_equal(same(encoded, {}), scores)


# The threshold


def test_the_threshold_before_validation():
    assert AnswerDecision(has_unanswerable=True).initial()["threshold"] == 0
    assert AnswerDecision(has_unanswerable=False).initial()["threshold"] == np.inf
    assert FITTED.decision.initial()["threshold"].dtype == np.float32


def test_the_threshold_is_fitted_to_validation():
    gold = [Gold("q", ("one",)), Gold("q", ("two",)), Gold("q", ()), Gold("q", ())]
    outputs = outputs_of(["one", "two", "x", "y"], [-4.0, -1.0, -0.5, 3.0])
    decided = FITTED.decision.fit({"validation": Predicted(outputs, gold)})
    assert decided["threshold"] == -0.75 and decided["threshold"].dtype == np.float32
    all_right = Predicted(outputs, [Gold("q", ("one",))] * 4)
    assert FITTED.decision.fit({"validation": all_right})["threshold"] == np.inf


def test_the_threshold_decides_whether_there_is_an_answer():
    raw = {
        "answer": tf.constant([["one", "x"], ["two", "x"], ["", ""]]),
        "probability": tf.constant([[0.6, 0.1], [0.5, 0.2], [0.0, 0.0]]),
        "no_answer_margin": tf.constant([-1.0, 0.5, 1e9]),
        "truncated": tf.constant([False, True, False]),
    }

    @tf.function(autograph=False)
    def best_answers(threshold):
        outputs = FITTED.decision.apply(raw, {**FITTED.decision.initial(), "threshold": threshold})
        assert set(outputs) == {*raw, "best_answer"}
        return outputs["best_answer"]

    expected = {
        0.0: [b"one", b"", b""],
        0.5: [b"one", b"two", b""],
        -1.5: [b"", b"", b""],
        np.inf: [b"one", b"two", b""],
    }
    for threshold, answers in expected.items():
        assert best_answers(tf.constant(threshold, tf.float32)).numpy().tolist() == answers


def test_the_official_numbers_of_a_squad_file(tmp_path):
    context = "Ann bought a red car, then two. Each is in front of the house."
    questions = [
        {"id": str(i), "question": q, "is_impossible": not gold, "answers": [at(g, None, context) for g in gold]}
        for i, (q, gold, *_) in enumerate(OFFICIAL)
    ]
    path = tmp_path / "test.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": questions}]}]}))
    gold = [FITTED.gold(record) for record in read(path)]
    evaluation = FITTED.evaluate(outputs_of(PREDICTED), gold, {"threshold": np.float32(0.5)})
    values = {name: score["value"] for name, score in evaluation.intervals().items()}
    assert values == pytest.approx(OFFICIAL_SCORES)
    assert next(iter(values)) == FITTED.monitor.name and set(values) == {metric.name for metric in FITTED.metrics}
    assert "in use: 0.50" in evaluation.sections()["figures"][0]["svg"]
