"""Multiple choice: what files may say, a softmax over the choices of each question, and what is served."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfbert.config import Config, DataConfig, override
from tfbert.tasks.base import Encoding
from tfbert.tasks.multiple_choice import TASK
from tfbert.text.datasets import Tokens
from tfbert.text.packing import Packer
from tfbert.text.records import Record, read_records
from tfbert.text.rows import Row

# What files may say


def parse(choices, answer, question="Which?"):
    return TASK.parse(Row("train.jsonl:1", {"question": question, "choices": choices, "answer": answer}))


@pytest.mark.parametrize(
    ("choices", "answer", "target"),
    [
        (["red", "green", "blue"], 0, 0),
        (["red", "green", "blue"], 2, 2),
        (["red", "green", "blue"], "2", 2),
        (["red", "green", "blue"], "green", 1),
        (["red", "light  green"], " light green ", 1),
        (["red", "green", "blue"], "C", 2),
        (["red", "green", "blue"], "b", 1),
        (["2", "4", "1"], 2, 2),  # a number in JSON is always the place
        (["2", "4", "9"], "4", 1),
        (["2", "4", "9"], "A", 0),
        (["5", "0"], "1", 1),
        ([2, 4.5], "4.5", 1),
        (["B", "A"], "B", None),
        ('["red", "green"]', "1", 1),
        ({"first": "red", "second": "green", "third": ""}, "second", 1),
        ({"sol1": "red", "sol2": " ", "sol3": "blue"}, "2", 1),  # places are those of the columns
        ({"sol1": "red", "sol2": None, "sol3": "blue"}, "C", 1),
    ],
)
def test_answers(choices, answer, target):
    if target is None:
        with pytest.raises(ValueError, match=r"answer 'B' could be choice 0 \('B'\) and choice 1 \('A'\); wanted what"):
            parse(choices, answer)
        return
    record = parse(choices, answer)
    assert record.target == target
    assert record.text == "Which?"


def test_choices_are_kept_in_order():
    assert parse({"A": "red", "B": "", "C": "blue"}, "red").others == ("red", "blue")
    assert parse(["b ", "a"], 0).others == ("b ", "a")


@pytest.mark.parametrize(
    ("choices", "answer", "message"),
    [
        (["red"], 0, r"choices are 'red'; wanted at least two"),
        ([], 0, r"choices are none; wanted at least two"),
        (["red", " "], 0, r"choices\[1\] is ' '; wanted at least one character"),
        (["red", None], 0, r"choices\[1\] is null; wanted a string"),
        (["red", "green", "red "], 0, r"choices 'red', 'green', 'red ' have one twice; wanted different ones"),
        ({"A": "red", "B": ""}, 0, r"choices are 'red'; wanted at least two"),
        (
            {"A": "red", "B": "", "C": "blue"},
            "B",
            r'answer is "B", which no choice has; the first is 0, the last 2 or C',
        ),
        (["red", "green"], 2, r"answer is 2, which no choice has; the first is 0, the last 1 or B"),
        (["red", "green"], -1, r"answer is -1, which no choice has"),
        (["red", "green"], "D", r'answer is "D", which no choice has; the first is 0, the last 1 or B'),
        (["red", "green"], "blue", r"answer is \"blue\", none of 'red', 'green'; wanted a choice itself, its number"),
        (["red", "green"], "", r'answer is "", none of'),
        (["red", "green"], True, r"answer is true; wanted a choice itself, its number from 0, or its letter from A"),
        (["red", "green"], 1.0, r"answer is 1.0; wanted a choice itself"),
        (["red", "green"], None, r"answer is null; wanted a choice itself"),
        (["1", "0"], "1", r"answer '1' could be choice 0 \('1'\) and choice 1 \('0'\)"),
        ("red, green", 0, r"choices is 'red, green'; wanted a JSON list, or a column for each choice by --set"),
        (None, 0, r"choices is null; wanted a list of strings"),
        ('{"a": 1}', 0, r'choices is {"a": 1}; wanted a list of strings'),
    ],
)
def test_bad_rows(choices, answer, message):
    with pytest.raises(ValueError, match=message):
        parse(choices, answer)


@pytest.mark.parametrize("cell", ['["red", "green"]', "['red', 'green']", "['red' 'green']"])
def test_a_cell_may_hold_the_choices(cell):
    assert parse(cell, 1).others == ("red", "green")


def test_files_name_the_bad_line(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("question,A,B,C,answer\nWhich?,red,green,,B\nWhich?,red,,,A\n")
    data = DataConfig(columns="choices=A|B|C")
    with pytest.raises(ValueError, match=r"train.csv:3: choices are 'red'; wanted at least two"):
        list(read_records(path, data, TASK.schema))
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"question": "Which?", "choices": ["a", "b"], "label": 1}))
    assert [record.target for record in read_records(path, DataConfig(), TASK.schema)] == [1]


# What is learned

QUESTION, CHOICES = np.arange(10, 16, dtype=np.int32), [np.arange(40, 42), np.arange(50, 58), np.arange(60, 61)]


def examples(packer, special_target=1, choices=CHOICES):
    record = Record("q", special_target, "here", tuple("abc"[: len(choices)]))
    said = []
    tokens = [Tokens(QUESTION), *(Tokens(ids.astype(np.int32)) for ids in choices)]
    return TASK.examples(record, tokens, packer, {}, Config(), said.append), said


def test_a_row_for_each_choice(tiny_tokenizer):
    special = tiny_tokenizer.special
    rows, said = examples(Packer(special, 32))
    assert [row.target for row in rows] == [0, 1, 0]
    assert [row.second for row in rows] == [8, 8, 8]
    assert rows[0].token_ids.tolist() == [special.start, *QUESTION, special.end, 40, 41, special.end]
    assert rows[2].token_ids.tolist() == [special.start, *QUESTION, special.end, 60, special.end]
    assert said == []


def test_what_is_cut_is_said(tiny_tokenizer):
    _, said = examples(Packer(tiny_tokenizer.special, 16))
    assert said == ["questions with a choice have more than 13 tokens together, and the longer is cut"]
    alike = [np.array([1, 2, 3, 4, 5, 6, 7, 8]), np.array([1, 2, 3, 4, 5, 6, 7, 9])]
    rows, said = examples(Packer(tiny_tokenizer.special, 13), choices=alike)
    assert said[1:] == ["questions have choices that are the same to the encoder"]
    assert rows[0].token_ids.tolist() == rows[1].token_ids.tolist()


def test_loss_is_cross_entropy_within_each_question():
    logits = np.array([1.0, 3.0, -2.0, 40.0, 39.0, 0.5, 0.25], np.float32)
    units = [0, 0, 0, 2, 2, 1, 1]  # of any number of choices, in any order
    batch = {
        "units": tf.constant(units),
        "targets": tf.constant([0, 1, 0, 0, 1, 1, 0], tf.int64),
        "weights": tf.ones(3),
    }
    parts = [np.array([1.0, 3.0, -2.0]), np.array([0.5, 0.25]), np.array([40.0, 39.0])]
    nll = [np.log(np.exp(part).sum()) - part for part in parts]
    right = np.array([nll[0][1], nll[1][0], nll[2][1]])
    found = TASK.loss(tf.constant(logits[:, None]), batch, Config())
    np.testing.assert_allclose(found, right, rtol=1e-5)
    smooth = TASK.loss(tf.constant(logits[:, None]), batch, override(Config(), {"train.label_smoothing": 0.1}))
    np.testing.assert_allclose(smooth, 0.9 * right + 0.1 * np.array([each.mean() for each in nll]), rtol=1e-5)


def test_loss_has_finite_gradients_for_far_logits():
    logits = tf.Variable([[200.0], [-200.0], [0.0], [1.0]])
    batch = {"units": tf.constant([0, 0, 1, 1]), "targets": tf.constant([0, 1, 1, 0]), "weights": tf.ones(2)}
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(TASK.loss(logits, batch, Config()))
    gradient = tape.gradient(loss, logits)[:, 0]
    share = 1 / (1 + np.exp(1))
    np.testing.assert_allclose(gradient, [1, -1, share - 1, 1 - share], atol=1e-6)


# What is answered


def encoding_of(tokenizer, sequence_length):
    """Return an encoding whose logit is a sum over the tokens of the second segment."""
    of_token = np.random.default_rng(0).normal(0, 1, len(tokenizer.vocabulary)).astype("float32")

    def logits(packed):
        values = tf.gather(of_token, packed["token_ids"]) * tf.cast(packed["segment_ids"], tf.float32)
        return tf.reduce_sum(values, axis=1, keepdims=True)

    return Encoding(tokenizer, Packer(tokenizer.special, sequence_length), logits, Config()), of_token


def serve(tokenizer, questions, choices, sequence_length=48):
    encoding, of_token = encoding_of(tokenizer, sequence_length)
    specs = [tf.TensorSpec([None], tf.string), tf.TensorSpec([None, None], tf.string)]
    served = tf.function(
        lambda q, c: TASK.answer({"question": q, "choices": c}, encoding, {}), autograph=False, input_signature=specs
    )
    questions, choices = tf.constant(questions, tf.string), tf.constant(choices, tf.string)
    return {name: value.numpy() for name, value in served(questions, choices).items()}, of_token


def test_served_answers(tiny_tokenizer):
    choices = [["red", "dark green", "blue"], ["yes", "no", ""], ["", "", ""], ["a", " ", "b"]]
    answers, of_token = serve(tiny_tokenizer, ["Which colour?", "Is it so?", "Nothing?", "Which letter?"], choices)

    def logit(text):
        return of_token[tiny_tokenizer(tf.constant([text])).flat_values.numpy()].sum()

    end = of_token[tiny_tokenizer.special.end]
    for row, of in enumerate(choices):
        there = [index for index, choice in enumerate(of) if choice.strip()]
        exponentials = np.exp([logit(of[index]) + end for index in there])
        expected = np.zeros(3)
        expected[there] = exponentials / exponentials.sum()
        np.testing.assert_allclose(answers["probabilities"][row], expected, atol=1e-5)
        best = int(expected.argmax()) if there else -1
        assert answers["choice_index"][row] == best
        assert answers["choice"][row] == (of[best].encode() if there else b"")
        assert answers["probability"][row] == pytest.approx(expected.max(), abs=1e-5)
    assert not answers["truncated"].any()
    assert {name: values.dtype.kind for name, values in answers.items()} == {
        "choice_index": "i", "choice": "O", "probability": "f", "probabilities": "f", "truncated": "b",
    }  # fmt: skip
    assert answers["choice_index"].dtype == np.int32


def test_truncated_tells_which_question(tiny_tokenizer):
    answers, _ = serve(tiny_tokenizer, ["Which?", "Which?"], [["red", "x " * 40], ["red", "green"]], 32)
    assert answers["truncated"].tolist() == [True, False]


@pytest.mark.parametrize("choices", [np.zeros((2, 0)), np.full((2, 2), "")])
def test_no_choices_at_all(tiny_tokenizer, choices):
    answers, _ = serve(tiny_tokenizer, ["Which?", "Who?"], choices.astype(str).astype(object))
    assert answers["choice_index"].tolist() == [-1, -1]
    assert answers["choice"].tolist() == [b"", b""]
    assert answers["probability"].tolist() == [0.0, 0.0]
    assert answers["probabilities"].shape == choices.shape
    assert not answers["truncated"].any()


def test_the_order_of_choices_does_not_matter(tiny_tokenizer):
    first, _ = serve(tiny_tokenizer, ["Which?"], [["red", "green", "blue"]])
    second, _ = serve(tiny_tokenizer, ["Which?"], [["blue", "red", "green"]])
    np.testing.assert_allclose(first["probabilities"][0][[2, 0, 1]], second["probabilities"][0], atol=1e-5)


# What is scored

ANSWERS = {
    "choice_index": np.array([0, 1, 1, 0]),
    "probabilities": np.array([[0.7, 0.3, 0.0], [0.2, 0.5, 0.3], [0.1, 0.9, 0.0], [0.6, 0.4, 0.0]], np.float32),
}
GOLD = [(0, ("a", "b")), (2, ("c", "d", "e")), (0, ("f", "g")), (1, ("h", "i"))]


def test_scores():
    found = TASK.scores(ANSWERS, GOLD, {})["metrics"]["accuracy"]
    assert found["value"] == 0.25
    assert found["low"] == 0.0 and 0.5 <= found["high"] <= 1.0
    quick = TASK.quick_scores(ANSWERS, GOLD, {})
    assert quick["accuracy"] == 0.25
    assert quick["loss"] == pytest.approx(-np.log([0.7, 0.3, 0.1, 0.4]).mean(), rel=1e-5)


def test_details():
    details = TASK.details(ANSWERS, GOLD, {})
    by_number, by_place = (table["rows"] for table in details["tables"])
    assert by_number == [
        ["2", 3, "33.3 %", "50.0 %"],
        ["3", 1, "0.0 %", "33.3 %"],
        ["all", 4, "25.0 %", "45.8 %"],
    ]
    assert by_place == [[0, 2, 2, "50.0 %"], [1, 1, 2, "0.0 %"], [2, 1, 0, "0.0 %"]]
    worst = details["worst"]
    assert list(worst) == [2, 3, 1]
    assert worst[2] == {
        "label": "f", "predicted": "g", "probability": pytest.approx(0.9), "label_probability": pytest.approx(0.1),
    }  # fmt: skip


def test_facts_and_inputs():
    records = [
        Record("q", 0, "here", ("a", "b")),
        Record("q", 0, "here", ("a", "b", "c")),
        Record("q", 0, "x", ("a", "b")),
    ]
    assert TASK.read_facts(records) == {"num_choices": {"2": 2, "3": 1}}
    assert TASK.inputs_of(records[1], {}) == {"question": "q", "choices": ("a", "b", "c")}
    assert TASK.gold_of(records[1], {}) == (0, ("a", "b", "c"))
