"""Multiple choice: files, one sequence per choice, the softmax over the choices of a question, and outputs."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from tfbert.config import DataConfig
from tfbert.tasks.base import fitted_from_json
from tfbert.tasks.base_config import used_options
from tfbert.tasks.base_context import Context
from tfbert.tasks.multiple_choice import TASK, FittedMultipleChoice, MultipleChoiceOptions
from tfbert.text.datasets import Recipe, tokenize
from tfbert.text.inputs import specs_of
from tfbert.text.preprocessor import Preprocessor
from tfbert.text.readers.rows import Row
from tfbert.text.records import Record, read_records

# Files


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
        (["2", "4", "1"], 2, 2),  # a number in JSON is always a position
        (["2", "4", "9"], "4", 1),
        (["2", "4", "9"], "A", 0),
        (["5", "0"], "1", 1),
        ([2, 4.5], "4.5", 1),
        (["B", "A"], "B", None),
        ('["red", "green"]', "1", 1),
        ({"first": "red", "second": "green", "third": ""}, "second", 1),
        ({"sol1": "red", "sol2": " ", "sol3": "blue"}, "2", 1),  # positions are those of the columns
        ({"sol1": "red", "sol2": None, "sol3": "blue"}, "C", 1),
    ],
)
def test_answers_in_files(choices, answer, target):
    if target is None:
        with pytest.raises(
            ValueError, match=r"answer 'B' could be choice 0 \('B'\) and choice 1 \('A'\); expected an unamb"
        ):
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
        (["red"], 0, r"choices are 'red'; expected at least two"),
        ([], 0, r"choices are none; expected at least two"),
        (["red", " "], 0, r"choices\[1\] is ' '; expected at least one non-whitespace character"),
        (["red", None], 0, r"choices\[1\] is null; expected a string"),
        (["red", "green", "red "], 0, r"choices 'red', 'green', 'red ' contain duplicates; expected different choices"),
        ({"A": "red", "B": ""}, 0, r"choices are 'red'; expected at least two"),
        (
            {"A": "red", "B": "", "C": "blue"},
            "B",
            r'answer is "B"; there is no such choice: the first is 0, the last is 2 or C',
        ),
        (["red", "green"], 2, r"answer is 2; there is no such choice: the first is 0, the last is 1 or B"),
        (["red", "green"], -1, r"answer is -1; there is no such choice"),
        (["red", "green"], "D", r'answer is "D"; there is no such choice: the first is 0, the last is 1 or B'),
        (["red", "green"], "blue", r"answer is \"blue\", not one of 'red', 'green'; expected a choice, its number"),
        (["red", "green"], "", r'answer is "", not one of'),
        (["red", "green"], True, r"answer is true; expected a choice, its number from 0, or its letter from A"),
        (["red", "green"], 1.0, r"answer is 1.0; expected a choice"),
        (["red", "green"], None, r"answer is null; expected a choice"),
        (["1", "0"], "1", r"answer '1' could be choice 0 \('1'\) and choice 1 \('0'\)"),
        ("red, green", 0, r"choices is 'red, green'; expected a JSON list, or a column per choice with --set"),
        (None, 0, r"choices is null; expected a list of strings"),
        ('{"a": 1}', 0, r'choices is {"a": 1}; expected a list of strings'),
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
    with pytest.raises(ValueError, match=r"train.csv:3: choices are 'red'; expected at least two"):
        list(read_records(path, data, TASK.schema))
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"question": "Which?", "choices": ["a", "b"], "label": 1}))
    assert [record.target for record in read_records(path, DataConfig(), TASK.schema)] == [1]


def test_inputs_and_gold_are_the_question_and_its_choices():
    record = Record("q", 2, "here", ("a", "b", "c"))
    assert fitted().inputs_of(record) == {"question": "q", "choices": ("a", "b", "c")}
    assert fitted().gold(record) == (2, ("a", "b", "c"))
    assert [(text.name, text.many) for text in fitted().inputs] == [("question", False), ("choices", True)]


# Options


def fitted(**options):
    return TASK.fit([], MultipleChoiceOptions(**options))


def test_a_fitted_task_survives_json():
    options = MultipleChoiceOptions(
        dropout=0.3,
        part_tokens=64,
        head_learning_rate_factor=2.0,
        pooling="max",
        start="random",
        label_smoothing=0.2,
        coverage=0.9,
        max_error=0.1,
    )
    assert not any(getattr(options, field.name) == field.default for field in dataclasses.fields(options))
    task = TASK.fit([], options)
    assert task == FittedMultipleChoice(options=options)
    assert fitted_from_json(json.loads(json.dumps(task.to_json()))) == task


def test_options_are_those_of_a_pooled_head_and_its_loss():
    assert used_options(TASK) == {
        "data.calibration", "data.calibration_fraction", "decision.coverage", "decision.max_error",
        "head.dropout", "head.pooling", "head.start",
        "train.head_learning_rate_factor", "train.label_smoothing", "train.part_tokens",
    }  # fmt: skip


# Sequences and targets


def tokenized(tokenizer, tmp_path, records, sequence_length):
    task, preprocessor = fitted(), Preprocessor(tokenizer, sequence_length)
    recipe = Recipe(
        preprocessor=preprocessor,
        inputs_of=task.inputs_of,
        specs=specs_of(task.inputs),
        sequences=lambda inputs: task.sequences(inputs, preprocessor),
        targets_of=task.targets_of,
        targets=task.targets,
        by_record=task.by_record,
        key=[repr(records), str(sequence_length)],
    )
    return tokenize(records, recipe, tmp_path)


def test_a_sequence_for_each_choice(tiny_tokenizer, tmp_path):
    records = [
        Record("Which colour is it?", 1, "a:1", ("red", "dark green", "the first one")),
        Record("Is it so?", 0, "a:2", ("yes", "no")),
    ]
    split = tokenized(tiny_tokenizer, tmp_path, records, 48)
    special = tiny_tokenizer.special
    expected = []
    for record in records:
        question, *choices = tiny_tokenizer(tf.constant(record.texts)).to_list()
        for choice in choices:
            expected.append(([special.start, *question, special.end, *choice, special.end], len(question) + 2))
    assert [split.sequences[index].tolist() for index in range(5)] == [token_ids for token_ids, _ in expected]
    assert split.second_starts.tolist() == [second_start for _, second_start in expected]
    assert split.targets["is_right"].tolist() == [False, True, False, True, False]
    assert split.examples.tolist() == [0, 3, 5]
    assert split.warnings == {}
    # The question counts once, however many choices it has.
    assert split.num_tokens[1] == len(tiny_tokenizer(tf.constant(records[1].texts)).flat_values) + 4
    assert not fitted().cuts_texts


def test_cut_and_equal_choices_cause_warnings(tiny_tokenizer, tmp_path):
    question, first, second = "the first number is two", "is the is the is the is two", "is the is the is the is the"
    assert [len(ids) for ids in tiny_tokenizer(tf.constant([question, first, second])).to_list()] == [5, 8, 8]
    records = [Record(question, 0, "a:1", (first, "two", second)), Record(question, 0, "a:2", ("two", "the"))]
    split = tokenized(tiny_tokenizer, tmp_path, records, 16)
    assert split.warnings == {} and max(split.sequences.lengths()) == 16
    cut = "questions with a choice have more than {} tokens together, and the longer text is cut"
    split = tokenized(tiny_tokenizer, tmp_path, records, 15)
    assert split.warnings == {
        cut.format(12): ["a:1"],
        "questions have choices that the encoder cannot tell apart": ["a:1"],
    }
    assert split.sequences[0].tolist() == split.sequences[2].tolist()
    # All sequences are used nevertheless.
    assert split.targets["is_right"].tolist() == [True, False, False, True, False]
    records = [Record(question, 0, "a:1", ("two", first, "the"))]
    assert tokenized(tiny_tokenizer, tmp_path, records, 12).warnings == {cut.format(9): ["a:1"]}


# Learning


def test_loss_is_cross_entropy_within_each_question():
    scores = np.array([1.0, 3.0, -2.0, 40.0, 39.0, 0.5, 0.25], np.float32)
    batch = {
        "example": tf.constant([0, 0, 0, 2, 2, 1, 1]),  # any number of choices, in any order
        "is_right": tf.constant([False, True, False, False, True, True, False]),
        "weights": tf.ones(3),
    }
    by_question = [np.array([1.0, 3.0, -2.0]), np.array([0.5, 0.25]), np.array([40.0, 39.0])]
    nll = [np.log(np.exp(logits).sum()) - logits for logits in by_question]
    right = np.array([nll[0][1], nll[1][0], nll[2][1]])
    np.testing.assert_allclose(fitted().loss(tf.constant(scores[:, None]), batch), right, rtol=1e-5)
    smooth = fitted(label_smoothing=0.1).loss(tf.constant(scores[:, None]), batch)
    np.testing.assert_allclose(smooth, 0.9 * right + 0.1 * np.array([losses.mean() for losses in nll]), rtol=1e-5)


def test_loss_has_finite_gradients_for_far_logits():
    scores = tf.Variable([[200.0], [-200.0], [0.0], [1.0]])
    is_right = tf.constant([False, True, True, False])
    batch = {"example": tf.constant([0, 0, 1, 1]), "is_right": is_right, "weights": tf.ones(2)}
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(fitted().loss(scores, batch))
    gradient = tape.gradient(loss, scores)[:, 0]
    probability = 1 / (1 + np.exp(1))
    np.testing.assert_allclose(gradient, [1, -1, probability - 1, 1 - probability], atol=1e-6)


@pytest.mark.parametrize("start", ["probe", "random"])
def test_the_head_starts_with_right_against_wrong_choices_unless_start_is_random(start):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4000, 4)).astype(np.float32)
    # Of every four choices, the one that is furthest along the first axis.
    is_right = np.zeros(4000, bool)
    is_right[np.arange(0, 4000, 4) + vectors[:, 0].reshape(-1, 4).argmax(1)] = True
    task = fitted(start=start, pooling="cls", dropout=0.4)
    head = task.head(seed=0)
    head.build(4)
    before = head.logits.kernel.numpy()
    embedded = []

    def embed(indices):
        embedded.append(indices)
        return vectors[indices]

    task.initialize_head(head, embed, SimpleNamespace(targets={"is_right": is_right}), 0)
    assert (head.pooling, head.dropout.rate) == ("cls", 0.4)
    if start == "random":
        assert embedded == []
        np.testing.assert_array_equal(head.logits.kernel, before)
        return
    (indices,) = embedded
    assert np.count_nonzero(is_right[indices]) == 1000 and len(set(indices.tolist())) == len(indices) == 4000
    logits = vectors @ head.logits.kernel.numpy()[:, 0] + head.logits.bias.numpy()
    assert roc_auc_score(is_right, logits) > 0.85
    assert np.mean(1 / (1 + np.exp(-logits))) == pytest.approx(0.25, abs=0.01)


# Outputs


def serve(tokenizer, questions, choices, sequence_length=48):
    """Return the outputs of a model whose logit is a sum of token values over the second segment, and the values."""
    token_values = np.random.default_rng(0).normal(0, 1, len(tokenizer.vocabulary)).astype("float32")
    task, preprocessor = fitted(), Preprocessor(tokenizer, sequence_length)

    def model(packed):
        values = tf.gather(token_values, packed["token_ids"]) * tf.cast(packed["segment_ids"], tf.float32)
        return tf.reduce_sum(values, axis=1, keepdims=True)

    @tf.function(autograph=False, input_signature=[text.spec for text in task.inputs])
    def predict(questions, choices):
        inputs = {"question": questions, "choices": choices}
        sequences = task.sequences(inputs, preprocessor)
        outputs = task.decode(sequences.scores(model), sequences, Context(inputs, (), {}))
        return task.decision.apply(outputs, task.decision.initial())

    outputs = predict(tf.constant(questions, tf.string), tf.constant(choices, tf.string))
    return {name: value.numpy() for name, value in outputs.items()}, token_values


def test_served_outputs(tiny_tokenizer):
    choices = [["red", "dark green", "blue"], ["yes", "no", ""], ["", "", ""], ["a", " ", "b"]]
    outputs, token_values = serve(tiny_tokenizer, ["Which colour?", "Is it so?", "Nothing?", "Which letter?"], choices)

    def logit(text):
        return token_values[tiny_tokenizer(tf.constant([text])).flat_values.numpy()].sum()

    end = token_values[tiny_tokenizer.special.end]
    for row, texts in enumerate(choices):
        nonempty = [index for index, choice in enumerate(texts) if choice.strip()]
        exponentials = np.exp([logit(texts[index]) + end for index in nonempty])
        expected = np.zeros(3)
        expected[nonempty] = exponentials / exponentials.sum()
        np.testing.assert_allclose(outputs["probabilities"][row], expected, atol=1e-5)
        best = int(expected.argmax()) if nonempty else -1
        assert outputs["choice_index"][row] == best
        assert outputs["choice"][row] == (texts[best].encode() if nonempty else b"")
        assert outputs["probability"][row] == pytest.approx(expected.max(), abs=1e-5)
    assert not outputs["truncated"].any()
    assert {name: values.dtype.kind for name, values in outputs.items()} == {
        "choice_index": "i", "choice": "O", "probability": "f", "probabilities": "f", "truncated": "b",
    }  # fmt: skip
    assert outputs["choice_index"].dtype == np.int32


def test_truncated_is_set_for_each_question(tiny_tokenizer):
    outputs, _ = serve(tiny_tokenizer, ["Which?", "Which?"], [["red", "x " * 40], ["red", "green"]], 32)
    assert outputs["truncated"].tolist() == [True, False]


@pytest.mark.parametrize("choices", [np.zeros((2, 0)), np.full((2, 2), "")])
def test_no_choices_at_all(tiny_tokenizer, choices):
    outputs, _ = serve(tiny_tokenizer, ["Which?", "Who?"], choices.astype(str).astype(object))
    assert outputs["choice_index"].tolist() == [-1, -1]
    assert outputs["choice"].tolist() == [b"", b""]
    assert outputs["probability"].tolist() == [0.0, 0.0]
    assert outputs["probabilities"].shape == choices.shape
    assert not outputs["truncated"].any()


def test_the_order_of_choices_does_not_matter(tiny_tokenizer):
    first, _ = serve(tiny_tokenizer, ["Which?"], [["red", "green", "blue"]])
    second, _ = serve(tiny_tokenizer, ["Which?"], [["blue", "red", "green"]])
    np.testing.assert_allclose(first["probabilities"][0][[2, 0, 1]], second["probabilities"][0], atol=1e-5)


def test_outputs_of_packed_sequences():
    outputs = fitted().decode_sequences(tf.constant([[1.5], [-2.0]]), None)
    assert {name: value.numpy().tolist() for name, value in outputs.items()} == {"logit": [1.5, -2.0]}


def test_evaluation_of_outputs():
    outputs = {"choice_index": np.array([0, 1]), "probabilities": np.float32([[0.7, 0.3, 0.0], [0.2, 0.5, 0.3]])}
    evaluation = fitted().evaluate(outputs, [(0, ("a", "b")), (2, ("c", "d", "e"))], {})
    assert evaluation.values()["accuracy"] == 0.5
    assert evaluation.mistakes() == [1] and evaluation.outcome(1).gold == "e"
