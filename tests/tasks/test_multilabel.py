"""Multi-label classification: what a record's labels are, what is learned of them, and what is chosen and served."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics as reference
from support import small

from tfbert.config import Config, DataConfig, override
from tfbert.evaluation.labelsets import best_threshold
from tfbert.tasks.base import TaskModel, load_task
from tfbert.text.records import Record, read_records
from tfbert.training import run
from tfbert.training.finished import load_run
from tfbert.training.problem import prepare

TASK = load_task("multilabel")


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def targets(path, **settings):
    return [record.target for record in read_records(path, DataConfig(**settings), TASK.schema)]


def message(path, **settings):
    with pytest.raises(ValueError) as caught:
        targets(path, **settings)
    return str(caught.value).removesuffix(" (--set data.bad_rows=skip leaves such rows out)")


def jsonl(path, *labels):
    return write(path, "".join(json.dumps({"text": f"t{i}", "labels": of}) + "\n" for i, of in enumerate(labels)))


def facts_of(*labels):
    return TASK.read_facts([Record(f"t{i}", tuple(of), f"train.jsonl:{i + 1}") for i, of in enumerate(labels)])


def logits_of(probabilities):
    probabilities = np.asarray(probabilities, np.float64)
    return tf.constant(np.log(probabilities) - np.log1p(-probabilities), tf.float32)


def test_labels_from_a_list_are_sorted_and_each_is_there_once(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", ["b", " a "], [], ["a", "a"], ["x;y|z"], [7, True])
    assert targets(path) == [("a", "b"), (), ("a",), ("x;y|z",), ("7", "true")]


@pytest.mark.parametrize("separator", [";", "|"])
def test_labels_from_a_cell(tmp_path, separator):
    cells = ["b{0} a", "", "food, drink", " {0}a{0}", "a"]
    rows = "".join(f'"t{i}","{cell.format(separator)}"\n' for i, cell in enumerate(cells))
    path = write(tmp_path / "a.csv", "text,labels\n" + rows)
    assert targets(path) == [("a", "b"), (), ("food, drink",), ("a",), ("a",)]


@pytest.mark.parametrize(
    "cells",
    [
        ['["food", "staff"]', "[]", '["noise"]'],
        ["['food', 'staff']", "[]", "['noise']"],
        ["['food' 'staff']", "[]", "['noise']"],
        ["{'staff', 'food'}", "{}", "{'noise'}"],
        ["('food', 'staff')", "()", "('noise',)"],
        ["frozenset({'food', 'staff'})", "set()", "array(['noise'], dtype=object)"],
    ],
)
def test_labels_from_a_cell_that_holds_a_list(tmp_path, cells):
    path = tmp_path / "a.csv"
    with open(path, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "labels"), *((f"t{i}", cell) for i, cell in enumerate(cells))])
    assert targets(path) == [("food", "staff"), (), ("noise",)]


@pytest.mark.parametrize(
    "labels",
    [[0, 1, 0], [1, 1], [0.0, 1.0, 0.0], [True, False, False], "[0, 1, 0]", "[0 1 0]", "[1. 0. 1.]", "0 1 0", "1,0,1"],
)
def test_a_vector_of_0_and_1_is_refused(tmp_path, labels):
    found = message(jsonl(tmp_path / "a.jsonl", ["a"], labels))
    assert found.startswith("a.jsonl:2: labels is ")
    assert found.endswith(
        "a vector of 0 and 1; wanted names of labels, or a column for each label by --set "
        "data.columns=labels=NAME|NAME|..."
    )


def test_ids_of_labels_are_no_vector(tmp_path):
    assert targets(jsonl(tmp_path / "a.jsonl", [0, 1], [12], [1, 0], "0", "1;0")) == [
        ("0", "1"),
        ("12",),
        ("0", "1"),
        ("0",),
        ("0", "1"),
    ]


@pytest.mark.parametrize("cell", ["[food, staff]", "{food}", "(food, staff)", "['food', staff]", "['food', 'sta"])
def test_brackets_that_are_no_list_are_refused(tmp_path, cell):
    assert 'wanted JSON such as ["a", "b"]' in message(jsonl(tmp_path / "a.jsonl", cell))
    assert targets(jsonl(tmp_path / "b.jsonl", "(other)")) == [("(other)",)]


def test_labels_from_a_column_each(tmp_path):
    path = write(tmp_path / "a.csv", "comment,toxic,obscene,id\nx,1,0,5\ny,true,TRUE,6\nz,0.0,,7\nw,false,1.0,8\n")
    found = targets(path, columns="text=comment,labels=toxic|obscene")
    assert found == [("toxic",), ("obscene", "toxic"), (), ("obscene",)]
    lines = [{"text": "x", "toxic": 1, "obscene": False}, {"text": "y", "toxic": None, "obscene": True}, {"text": "z"}]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert targets(path, columns="labels=toxic|obscene") == [("toxic",), ("obscene",), ()]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (None, "labels is null; wanted a list of names, which may be empty"),
        (["a", None], "labels[1] is null; wanted a string, a whole number, true or false"),
        ([["a"]], 'labels[0] is ["a"]; wanted a string, a whole number, true or false'),
        (["a", " "], "labels[1] is ' '; wanted at least one character that is not blank"),
        (0.5, "labels is 0.5; wanted a string, a whole number, true or false"),
        (
            "a;b|c",
            "labels is 'a;b|c', with ; and |; wanted one of them between labels, "
            "or a list in jsonl where they are part of names",
        ),
        ({"a": 1, "b": 0.5}, "label 'b' is 0.5; wanted 1, 0, true, false or nothing"),
    ],
)
def test_what_is_no_labels_is_refused_with_its_place(tmp_path, labels, expected):
    assert message(jsonl(tmp_path / "a.jsonl", ["a"], labels)) == f"a.jsonl:2: {expected}"


def test_a_column_of_a_label_with_another_number_is_refused(tmp_path):
    path = write(tmp_path / "a.csv", "text,toxic,obscene\nx,1,0\ny,0,2\n")
    found = message(path, columns="labels=toxic|obscene")
    assert found == "a.csv:3: label 'obscene' is \"2\"; wanted 1, 0, true, false or nothing"


def test_facts_count_the_labels():
    facts = facts_of(["b", "a"], [], ["b"])
    assert facts["labels"] == ["a", "b"] and facts["counts"] == [1, 2] and facts["num_examples"] == 3
    assert facts["thresholds"] == [0.5, 0.5] and facts["own_thresholds"] is None and facts["has_pair"] is False
    assert facts_of(["spam"], [])["labels"] == ["spam"]


def test_train_without_a_difference_is_refused():
    with pytest.raises(ValueError, match="train has no labels; wanted at least one label that some texts have"):
        facts_of([], [])
    with pytest.raises(ValueError, match="every text of train has the same labels: 'a', 'b'; wanted"):
        facts_of(["a", "b"], ["a", "b"])


def test_an_unknown_label_is_refused_with_a_similar_one():
    facts = facts_of(["refund"], ["card"])
    with pytest.raises(ValueError) as caught:
        TASK.gold_of(Record("t", ("card", "refnd"), "test.csv:41"), facts)
    assert str(caught.value) == "test.csv:41: label 'refnd' is not one of the 2 labels of train; did you mean 'refund'?"


def test_targets_tell_labels_by_sign_and_balanced_weights_by_size():
    facts = facts_of(["a", "b"], ["a"], ["a"], [])
    target = TASK.target_of(Record("t", ("b",), "x:1"), facts)
    # Half of the weight of four texts lies on those with a label, half on those without.
    np.testing.assert_allclose(target, [-4 / 2 / 1, 4 / 2 / 1])
    np.testing.assert_allclose(TASK.target_of(Record("t", ("a",), "x:1"), facts), [4 / 2 / 3, -4 / 2 / 3], rtol=1e-3)
    np.testing.assert_array_equal(TASK.gold_of(Record("t", ("b",), "x:1"), facts), [False, True])
    rare = facts_of(["a"], *[[]] * 999)
    assert TASK.target_of(Record("t", ("a",), "x:1"), rare) == 20.0


def loss(**values):
    logits = tf.constant([[2.0, -1.0], [0.5, 0.0]])
    batch = {"targets": tf.constant([[3.0, -0.5], [-1.0, 2.0]], tf.float16)}
    return TASK.loss(logits, batch, override(Config(), {f"train.{name}": value for name, value in values.items()}))


def test_loss_is_binary_cross_entropy_a_text():
    def of(probability, wanted):
        return -wanted * np.log(probability) - (1 - wanted) * np.log(1 - probability)

    p = 1 / (1 + np.exp(-np.array([[2.0, -1.0], [0.5, 0.0]])))
    wanted = np.array([[1, 0], [0, 1]])
    np.testing.assert_allclose(loss(), of(p, wanted).mean(1), rtol=1e-5)
    np.testing.assert_allclose(loss(label_smoothing=0.2), of(p, 0.1 + 0.8 * wanted).mean(1), rtol=1e-5)
    weights = np.array([[3, 0.5], [1, 2]])
    np.testing.assert_allclose(loss(class_weights="balanced"), (weights * of(p, wanted)).mean(1), rtol=1e-5)


def test_answers_are_the_labels_that_reach_their_thresholds():
    facts = facts_of(["a", "b", "c"], []) | {"thresholds": [0.5, 0.2, 0.9]}
    probabilities = [[0.6, 0.3, 0.95], [0.4, 0.1, 0.8], [0.1, 0.7, 0.1]]
    found = {name: value.numpy() for name, value in TASK.decode(logits_of(probabilities), facts).items()}
    assert found["labels"].tolist() == [[b"c", b"a", b"b"], [b"", b"", b""], [b"b", b"", b""]]
    np.testing.assert_allclose(found["label_probabilities"], [[0.95, 0.6, 0.3], [0, 0, 0], [0.7, 0, 0]], rtol=1e-5)
    assert found["num_labels"].tolist() == [3, 0, 1] and found["num_labels"].dtype == np.int32
    np.testing.assert_allclose(found["probabilities"], probabilities, rtol=1e-5)


@pytest.mark.parametrize("batch", [0, 2])
def test_answers_without_any_label_have_one_column(batch):
    facts = facts_of(["a", "b"], [])
    found = TASK.decode(tf.fill([batch, 2], -3.0), facts)
    assert found["labels"].shape == found["label_probabilities"].shape == (batch, 1)
    assert found["num_labels"].numpy().tolist() == [0] * batch


def test_labels_of_equal_probability_are_ordered_by_their_logits():
    found = TASK.decode(tf.constant([[40.0, 60.0, 50.0]]), facts_of(["a", "b", "c"], []))
    assert found["probabilities"].numpy().tolist() == [[1.0, 1.0, 1.0]]
    assert found["labels"].numpy().tolist() == [[b"b", b"c", b"a"]]


def test_thresholds_are_settled_on_the_answers_and_used():
    rng = np.random.default_rng(0)
    gold = list(rng.random((60, 2)) < [0.5, 0.3])
    probabilities = (0.2 + 0.1 * np.stack(gold) + 0.05 * rng.random((60, 2))).astype(np.float32)
    before = facts_of(["a"], ["b"])
    facts = TASK.settle({"probabilities": probabilities}, gold, before)
    assert before["thresholds"] == [0.5, 0.5]
    assert facts == json.loads(json.dumps(facts))
    assert facts["own_thresholds"] == [True, True]
    assert facts["thresholds"][0] == pytest.approx(0.275, abs=0.01)
    assert TASK.quick_scores({"probabilities": probabilities}, gold, before)["micro_f1"] == 0
    assert TASK.quick_scores({"probabilities": probabilities}, gold, facts)["micro_f1"] == 1
    assert (TASK.decode(logits_of(probabilities), facts)["num_labels"].numpy() == np.stack(gold).sum(1)).all()


def test_signatures_of_its_own():
    facts = facts_of(["a", "b"], []) | {"thresholds": [0.25, 0.75]}
    probabilities = tf.constant([[0.1, 0.2], [0.3, 0.4]])
    asked = []

    def answer(text):
        asked.append(text.numpy().tolist())
        return {"probabilities": probabilities}

    signatures = TASK.extra_signatures(answer, facts)
    found = signatures["labels"](tf.constant([1, -1, 2, 0]))
    assert found["label"].numpy().tolist() == [b"b", b"", b"", b"a"]
    assert found["threshold"].numpy().tolist() == [0.75, 0, 0, 0.25]
    serialized = []
    for text in (b"one", b"two"):
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))
        serialized.append(tf.train.Example(features=tf.train.Features(feature={"text": feature})).SerializeToString())
    found = signatures["classify"].python_function(tf.constant(serialized))
    assert asked == [[b"one", b"two"]]
    assert found["classes"].numpy().tolist() == [[b"a", b"b"]] * 2
    np.testing.assert_array_equal(found["scores"], probabilities)


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_the_head_starts_with_the_prevalence_of_train(weights):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(1500, 4)).astype(np.float32)
    has_label = np.stack([vectors[:, 0] + rng.normal(0, 0.3, 1500) > 1.5, rng.random(1500) < 0.5], axis=1)
    facts = {"labels": ["a", "b"], "counts": has_label.sum(0).tolist(), "num_examples": 1500, "has_pair": False}
    names = [tuple(np.array(["a", "b"])[row]) for row in has_label]
    rows = np.stack([TASK.target_of(Record("t", of, "x:1"), facts) for of in names])
    config = override(Config(), {"train.class_weights": weights})
    head = TASK.build_head(facts, config)
    head.build(4)
    model = object.__new__(TaskModel)
    object.__setattr__(model, "head", head)
    TASK.start_head(model, lambda indices: vectors[indices], rows, config)
    probabilities = 1 / (1 + np.exp(-(vectors @ head.logits.kernel.numpy() + head.logits.bias.numpy())))
    assert reference.roc_auc_score(has_label[:, 0], probabilities[:, 0]) > 0.97
    if weights == "none":
        np.testing.assert_allclose(probabilities.mean(0), has_label.mean(0), atol=0.03)
    else:
        assert probabilities[:, 0].mean() > 1.5 * has_label[:, 0].mean()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Write texts whose labels are the topics of the words in them, none included."""
    directory = tmp_path_factory.mktemp("data")
    for seed, (name, count) in enumerate({"train": 160, "validation": 60, "test": 60}.items(), 1):
        rng = np.random.default_rng(seed)
        lines = []
        for index in range(count):
            topics = [topic for topic in sorted(small.TOPICS) if rng.random() < 0.4]
            words = [*rng.choice(small.COMMON, 4), *(rng.choice(small.TOPICS[topic]) for topic in topics)]
            rng.shuffle(words)
            lines.append({"text": " ".join([*words, str(1000 * seed + index)]), "labels": topics})
        write(directory / f"{name}.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return directory


@pytest.fixture(scope="module")
def problem(data_dir):
    values = {"encoder.name": "tiny", "encoder.sequence_length": 32, "encoder.precision": "float32"}
    values |= {"data.path": str(data_dir), "train.epochs": 2, "train.batch_size": 16, "train.learning_rate": 2e-3}
    return prepare(override(Config(task="multilabel"), values))


@pytest.fixture(scope="module")
def run_dir(problem, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    run.train(problem, path)
    return path


def test_a_run_learns_and_its_scores_are_those_of_its_answers(problem, run_dir):
    finished = load_run(run_dir)
    records = {name: list(problem.splits[name]) for name in ("validation", "test")}
    gold = {n: np.stack([TASK.gold_of(r, finished.facts) for r in of]) for n, of in records.items()}
    answers = {n: finished.answering([{"text": record.text} for record in of]) for n, of in records.items()}
    labels = finished.facts["labels"]
    expected = [
        best_threshold(g, p, finished.facts["thresholds"][0])
        for g, p in zip(gold["validation"].T, answers["validation"]["probabilities"].T, strict=True)
    ]
    assert finished.facts["own_thresholds"] == [True] * 3
    # The probabilities are those of other batches, the middle of the gaps is all but the same.
    np.testing.assert_allclose(finished.facts["thresholds"], expected, atol=1e-5)
    chosen = [{name.decode() for name in row if name} for row in answers["test"]["labels"]]
    as_rows = np.array([[label in of for label in labels] for of in chosen])
    found = {name: metric["value"] for name, metric in finished.report["test"]["metrics"].items()}
    assert found["micro_f1"] == pytest.approx(reference.f1_score(gold["test"], as_rows, average="micro"))
    assert found["macro_f1"] == pytest.approx(reference.f1_score(gold["test"], as_rows, average="macro"))
    assert found["subset_accuracy"] == pytest.approx(reference.accuracy_score(gold["test"], as_rows))
    precision = reference.average_precision_score(gold["test"], answers["test"]["probabilities"])
    assert found["mean_average_precision"] == pytest.approx(precision, abs=1e-4)
    assert precision > gold["test"].mean() + 0.2
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert "Thresholds" in page and "Labels a text" in page


def test_texts_of_any_number_of_labels_are_counted_in_the_checks(problem):
    counts = problem.checked.class_counts["train"]
    assert counts == dict(zip(problem.facts["labels"], problem.facts["counts"], strict=True))
    assert sum(counts.values()) != problem.checked.num_examples["train"]


def test_labels_that_commas_seem_to_join_are_warned_of(tmp_path):
    rows = "x,toxic\ny,obscene\nz,\nw,obscene;toxic\nv,toxic\n" + 'u,"toxic, obscene"\ns,"good, bad"\n'
    write(tmp_path / "train.csv", "text,labels\n" + rows)
    write(tmp_path / "test.csv", "text,labels\nr,toxic\n")
    values = {"data.path": str(tmp_path), "encoder.name": "tiny", "encoder.sequence_length": 16}
    values |= {"data.validation_fraction": 0.0}
    found = prepare(override(Config(task="multilabel"), values)).checked.warnings
    assert [warning for warning in found if "joined" in warning] == [
        "1 label looks like several joined by commas: 'toxic, obscene' (1 record, first train.csv:7) "
        "(labels of one cell are separated by ; or |)"
    ]
