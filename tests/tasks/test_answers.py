"""Questions about a text: what files may say, what is read of them before training, and the official scores."""

import csv
import json

import numpy as np
import pytest

from tfbert.config import DataConfig
from tfbert.evaluation.squad import f1
from tfbert.tasks.answers import TASK, Gold
from tfbert.text.records import Record, read_records

CONTEXT = "The cat sat on the mat. The dog sat on the log, and the cat slept."


# What files may say


def at(text, start=None, context=CONTEXT):
    start = context.index(text) if start is None else start
    return {"text": text, "answer_start": start}


def read(path):
    return list(read_records(path, DataConfig(), TASK.schema))


def test_squads_layout(tmp_path):
    answered = {"id": "q1", "question": "Who slept?", "answers": [at("cat", 56), at("the cat", 52), at("cat", 56)]}
    refused = {
        "id": "q2",
        "question": "Who flew?",
        "answers": [],
        "is_impossible": True,
        "plausible_answers": [at("log")],
    }
    paragraph = {"context": CONTEXT, "qas": [answered, refused]}
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "t", "paragraphs": [paragraph]}]}))
    first, second = read(path)
    assert (first.text, first.others, first.group, first.where) == ("Who slept?", (CONTEXT,), CONTEXT, "train.json:q1")
    assert (first.target, second.target) == (((56, 59), (52, 59)), ())
    assert TASK.gold_of(first, {}) == Gold("Who slept?", ("cat", "the cat"))
    assert TASK.gold_of(second, {}) == Gold("Who flew?", ())
    assert TASK.inputs_of(first, {}) == {"question": "Who slept?", "context": CONTEXT}


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
    asked = {"id": "q1", "question": "Who slept?", "is_impossible": flag}
    for answers in ([], [at("cat", 56)]):
        item = asked | {"answers": answers}
        if layout == "squad":
            document, where = {"data": [{"paragraphs": [{"context": CONTEXT, "qas": [item]}]}]}, "train.json:q1"
        else:
            document, where = item | {"context": CONTEXT}, "train.jsonl:1"
        path = tmp_path / where.partition(":")[0]
        path.write_text(json.dumps(document))
        if is_true and answers:
            with pytest.raises(ValueError) as caught:
                read(path)
            assert str(caught.value) == f"{where}: is_impossible is true beside the answer 'cat'; remove one of them"
        else:
            assert [record.target for record in read(path)] == [((56, 59),) if answers else ()]


@pytest.mark.parametrize("flag", ["maybe", 2, [], {"a": 1}])
def test_another_flag_is_refused(tmp_path, flag):
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


def test_lines_of_json_name_the_bad_one(tmp_path):
    path = tmp_path / "train.jsonl"
    good = {"question": "Who?", "context": CONTEXT, "answers": ["The dog"]}
    path.write_text("\n".join(map(json.dumps, [good, good | {"answers": [at("dog", 3)]}])))
    with pytest.raises(ValueError, match=r"train.jsonl:2: answer 'dog' is not at answer_start 3, .*nearest is at 28"):
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


def test_facts():
    def record(*spans, context="x" * 700):
        return Record("q", spans, "here", (context,))

    facts = TASK.read_facts([record((0, 5)), record((3, 60))])
    assert facts == {"longest_answer": 30, "whole_words": False, "threshold": None}
    assert TASK.read_facts([record((0, 5)), record()])["threshold"] == 0.0
    # Long words are several pieces, and other scripts a piece each character; one of a hundred may be longer.
    assert TASK.read_facts([record((0, 600))])["longest_answer"] == 100
    assert TASK.read_facts([record((0, 45), context="字" * 50)])["longest_answer"] == 45
    many = [record((0, 5))] * 995 + [record((0, 600))] * 5
    assert TASK.read_facts(many)["longest_answer"] == 30
    rows = [record((index, index + 3), context="one or two, one or " + "one" * 60) for index in (0, 4, 7, 19, 19)]
    assert TASK.read_facts(rows[:3])["whole_words"]
    assert not TASK.read_facts(rows)["whole_words"]
    assert TASK.read_facts(rows[:1] * 199 + rows[3:])["whole_words"]
    with pytest.raises(ValueError, match="train has no question with an answer"):
        TASK.read_facts([record(), record()])


# Scores


def answers_of(best, margins=None, second="x"):
    """Return what the model might have answered, always sure of itself."""
    count = len(best)
    texts = np.array([[text.encode(), second.encode()] for text in best], object)
    return {
        "answer": texts,
        "best_answer": texts[:, 0],
        "probability": np.linspace(0.9, 0.5, count)[:, None] * [[1, 0.1]],
        "no_answer_probability": np.full(count, 0.05),
        "no_answer_margin": np.array(margins if margins is not None else [-1.0] * count),
    }


# One article of SQuAD 2.0's layout, with what is predicted and what the official script gives for each, by hand.
OFFICIAL = [
    ("What did Ann buy?", ["a red car", "red car", "car"], "The red car.", 1.0, 1.0),
    ("Where is the car?", ["in front of the house"], "front of house", 0.0, 2 * 3 / (3 + 4)),
    ("How many cars?", ["two"], "", 0.0, 0.0),
    ("Who sold it?", [], "", 1.0, 1.0),
    ("Who stole it?", [], "Ann", 0.0, 0.0),
]
OFFICIAL_SCORES = {
    "f1": (1 + 6 / 7 + 0 + 1 + 0) / 5,
    "exact_match": 2 / 5,
    "has_answer_f1": (1 + 6 / 7 + 0) / 3,
    "has_answer_exact_match": 1 / 3,
    "no_answer_accuracy": 1 / 2,
}


def test_the_official_numbers_of_a_squad_file(tmp_path):
    context = "Ann bought a red car, then two. Each is in front of the house."
    questions = [
        {"id": str(i), "question": q, "is_impossible": not gold, "answers": [at(g, None, context) for g in gold]}
        for i, (q, gold, *_) in enumerate(OFFICIAL)
    ]
    path = tmp_path / "test.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": questions}]}]}))
    gold = [TASK.gold_of(record, {}) for record in read(path)]
    answers = answers_of([predicted for _, _, predicted, *_ in OFFICIAL])
    found = TASK.scores(answers, gold, {"threshold": 0.0})
    assert {name: score["value"] for name, score in found["metrics"].items()} == pytest.approx(OFFICIAL_SCORES)
    for score in found["metrics"].values():
        assert 0 <= score["low"] < score["value"] < score["high"] <= 1
    assert next(iter(found["metrics"])) == TASK.monitor


def test_one_kind_of_question_has_no_scores_by_kind():
    gold = [Gold("q", ("one",)), Gold("q", ("two",))]
    found = TASK.scores(answers_of(["one", "one"]), gold, {"threshold": None})
    assert {name: score["value"] for name, score in found["metrics"].items()} == {"f1": 0.5, "exact_match": 0.5}


def test_validation_settles_the_threshold():
    gold = [Gold("q", ("one",)), Gold("q", ("two",)), Gold("q", ()), Gold("q", ())]
    answers = answers_of(["one", "two", "x", "y"], [-4.0, -1.0, -0.5, 3.0])
    facts = {"longest_answer": 30, "whole_words": True, "threshold": 0.0}
    settled = TASK.settle(answers, gold, facts)
    assert settled == facts | {"threshold": -0.75}
    assert json.loads(json.dumps(settled)) == settled
    # Scores after an epoch are those that the threshold will give.
    assert TASK.quick_scores(answers, gold, facts)["f1"] == 1.0
    answerable = [Gold("q", ("one",))] * 4
    assert TASK.settle(answers, answerable, facts) == facts | {"threshold": None}
    assert TASK.quick_scores(answers, answerable, facts) == {"f1": 0.25, "exact_match": 0.25}


def test_settled_scores_are_not_below_those_of_any_threshold():
    rng = np.random.default_rng(2)
    gold = [Gold("q", ("one two",) if rng.random() < 0.6 else ()) for _ in range(60)]
    answers = answers_of(rng.choice(["one two", "one", "no"], 60), rng.normal(size=60))
    best = TASK.quick_scores(answers, gold, {"threshold": 0.0})["f1"]
    for threshold in np.linspace(-3, 3, 50):
        said = np.where(answers["no_answer_margin"] > threshold, b"", answers["answer"][:, 0])
        assert np.mean([f1(text.decode(), item.answers) for text, item in zip(said, gold, strict=True)]) <= best + 1e-9


def test_details_of_the_report():
    gold = [Gold(question, tuple(answers)) for question, answers, *_ in OFFICIAL]
    answers = answers_of([predicted for _, _, predicted, *_ in OFFICIAL], [-3, -2, 1, 2, -1])
    found = TASK.details(answers, gold, {"threshold": 0.5})
    assert list(found["worst"]) == [4, 2, 1]  # nothing right first, the surest first
    assert found["worst"][4] == {
        "label": "(no answer)", "predicted": "Ann", "probability": pytest.approx(0.5), "label_probability": None
    }  # fmt: skip
    assert found["worst"][2]["predicted"] == "(no answer)"
    assert found["worst"][2]["probability"] == pytest.approx(0.05)
    assert [table["title"] for table in found["tables"]] == ["By question word", "By length of the answer"]
    assert ["who", 2, "50.0 %", "50.0 %"] in found["tables"][0]["rows"]
    assert sum(row["num_examples"] for row in found["reliability"]["bins"]) == 5
    assert "in use: 0.50" in found["figures"][0]["svg"]
    assert TASK.details(answers, gold, {"threshold": None})["figures"] == []
    json.dumps(found, default=lambda value: value.tolist())
