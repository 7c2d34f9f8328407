"""Multi-label classification: labels in files, targets and losses, thresholds, and served outputs."""

import csv
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics as reference
from support import small

from tfbert.config import Config, DataConfig, override
from tfbert.evaluation.labelsets import ThresholdSource, best_threshold
from tfbert.models.saved_run import load_run
from tfbert.tasks.base import fitted_from_json
from tfbert.tasks.base_config import used_options
from tfbert.tasks.base_context import Served
from tfbert.tasks.base_decision import Predicted
from tfbert.tasks.base_pooled import LabelOptions
from tfbert.tasks.multilabel import TASK, FittedMultilabel
from tfbert.text.records import Record, read_records
from tfbert.training import run
from tfbert.training.problem import prepare


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def targets(path, **settings):
    return [record.target for record in read_records(path, DataConfig(**settings), TASK.schema)]


def message(path, **settings):
    with pytest.raises(ValueError) as caught:
        targets(path, **settings)
    return str(caught.value).removesuffix(" (--set data.bad_rows=skip skips such rows)")


def jsonl(path, *labels):
    lines = [json.dumps({"text": f"t{i}", "labels": value}) for i, value in enumerate(labels)]
    return write(path, "".join(line + "\n" for line in lines))


def fit(*labels, **options):
    records = [Record(f"t{i}", tuple(names), f"train.jsonl:{i + 1}") for i, names in enumerate(labels)]
    return TASK.fit(records, LabelOptions(**options))


def applied(task, logits, **decided):
    """Return the served outputs for logits, with decided values that differ from the initial ones."""
    values = dict(task.decision.initial()) | decided
    variables = {name: tf.Variable(value) for name, value in values.items()}
    outputs = task.decision.apply(task.decode_texts(tf.constant(logits)), variables)
    return {name: value.numpy() for name, value in outputs.items()}


def logits_of(probabilities):
    probabilities = np.asarray(probabilities, np.float64)
    return tf.constant(np.log(probabilities) - np.log1p(-probabilities), tf.float32)


def test_labels_from_a_list_are_sorted_without_duplicates(tmp_path):
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
def test_a_vector_of_zeros_and_ones_is_rejected(tmp_path, labels):
    error = message(jsonl(tmp_path / "a.jsonl", ["a"], labels))
    assert error.startswith("a.jsonl:2: labels is ")
    assert error.endswith(
        "a vector of zeros and ones; expected names of labels, or a column for each label by --set "
        "data.columns=labels=NAME|NAME|..."
    )


def test_label_ids_are_not_a_vector(tmp_path):
    assert targets(jsonl(tmp_path / "a.jsonl", [0, 1], [12], [1, 0], "0", "1;0")) == [
        ("0", "1"),
        ("12",),
        ("0", "1"),
        ("0",),
        ("0", "1"),
    ]


@pytest.mark.parametrize("cell", ["[food, staff]", "{food}", "(food, staff)", "['food', staff]", "['food', 'sta"])
def test_brackets_that_are_not_a_list_are_rejected(tmp_path, cell):
    assert 'JSON such as ["a", "b"]' in message(jsonl(tmp_path / "a.jsonl", cell))
    assert targets(jsonl(tmp_path / "b.jsonl", "(other)")) == [("(other)",)]


def test_labels_from_one_column_per_label(tmp_path):
    path = write(tmp_path / "a.csv", "comment,toxic,obscene,id\nx,1,0,5\ny,true,TRUE,6\nz,0.0,,7\nw,false,1.0,8\n")
    labels = targets(path, columns="text=comment,labels=toxic|obscene")
    assert labels == [("toxic",), ("obscene", "toxic"), (), ("obscene",)]
    lines = [{"text": "x", "toxic": 1, "obscene": False}, {"text": "y", "toxic": None, "obscene": True}, {"text": "z"}]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert targets(path, columns="labels=toxic|obscene") == [("toxic",), ("obscene",), ()]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (None, "labels is null; expected a list of names, which may be empty"),
        (["a", None], "labels[1] is null; expected a string, a number, true or false"),
        ([["a"]], 'labels[0] is ["a"]; expected a string, a number, true or false'),
        (["a", " "], "labels[1] is ' '; expected at least one non-whitespace character"),
        (
            "a;b|c",
            "labels is 'a;b|c', with both ; and |; expected only one separator, "
            "or a JSON list if they are part of names",
        ),
        ({"a": 1, "b": 0.5}, "label 'b' is 0.5; expected 1, 0, true, false or an empty cell"),
    ],
)
def test_invalid_labels_are_rejected_with_their_place(tmp_path, labels, expected):
    assert message(jsonl(tmp_path / "a.jsonl", ["a"], labels)) == f"a.jsonl:2: {expected}"


def test_a_label_column_with_another_number_is_rejected(tmp_path):
    path = write(tmp_path / "a.csv", "text,toxic,obscene\nx,1,0\ny,0,2\n")
    error = message(path, columns="labels=toxic|obscene")
    assert error == "a.csv:3: label 'obscene' is \"2\"; expected 1, 0, true, false or an empty cell"


def test_labels_are_counted():
    options = LabelOptions(dropout=0.3)
    task = fit(["b", "a"], [], ["b"], dropout=0.3)
    assert task == FittedMultilabel(options=options, has_pair=False, labels=("a", "b"), counts=(1, 2), num_examples=3)
    assert task.known_labels == ("a", "b") and task.num_scores == 2
    assert fit(["spam"], []).labels == ("spam",)


def test_a_fitted_task_survives_json():
    options = LabelOptions(
        dropout=0.3,
        part_tokens=64,
        head_learning_rate_factor=2.0,
        pooling="max",
        start="random",
        long_text="mean",
        window_overlap_fraction=0.5,
        label_smoothing=0.2,
        class_weights="balanced",
        out_of_domain="energy",
        noise=0.1,
        counterfactuals="gender",
        evidence=9,
    )
    assert not any(getattr(options, field.name) == field.default for field in dataclasses.fields(options))
    labels = {"labels": ("a", "b; c"), "counts": (3, 5), "num_examples": 7}
    for task in (
        FittedMultilabel(options=options, has_pair=False, **labels),
        FittedMultilabel(options=LabelOptions(), has_pair=True, **labels),
    ):
        assert fitted_from_json(json.loads(json.dumps(task.to_json()))) == task


def test_the_options_are_those_of_whole_texts_with_labels():
    assert used_options(TASK) == {
        "data.group_column",
        "data.label_names",
        "data.calibration",
        "data.calibration_fraction",
        *LabelOptions.paths().values(),
    }
    assert {"train.class_weights", "train.label_smoothing", "head.pooling", "head.start"} < used_options(TASK)


def test_training_data_with_nothing_to_learn_is_rejected():
    with pytest.raises(ValueError, match="train has no labels; expected at least one label that some texts have"):
        fit([], [])
    with pytest.raises(ValueError, match="every text in train has the same labels: 'a', 'b'; expected"):
        fit(["a", "b"], ["b", "a"])


def test_an_unknown_label_is_rejected_and_a_similar_one_is_suggested():
    with pytest.raises(ValueError) as caught:
        fit(["refund"], ["card"]).gold(Record("t", ("card", "refnd"), "test.csv:41"))
    assert str(caught.value) == "test.csv:41: label 'refnd' is not one of the 2 labels of train; did you mean 'refund'?"
    with pytest.raises(ValueError, match="label 'zzz' is not one of the 1 label of train$"):
        fit(["refund"], []).gold(Record("t", ("zzz",), "test.csv:41"))


def test_targets_are_the_labels_of_a_record():
    task = fit(["a", "b"], ["c"], [])
    for labels, expected in ((("c", "a"), [True, False, True]), ((), [False] * 3)):
        record = Record("t", labels, "x:1")
        (target,) = task.targets_of(record, [None], pytest.fail)
        assert target["has_label"].tolist() == task.gold(record).tolist() == expected
    spec = task.targets["has_label"]
    assert target["has_label"].dtype == np.dtype(spec.dtype) and target["has_label"].shape == spec.shape


SCORES = np.array([[2.0, -1.0], [0.5, 0.0]])
HAS_LABEL = np.array([[True, False], [False, True]])


def loss(task):
    return task.loss(tf.constant(SCORES, tf.float32), {"has_label": tf.constant(HAS_LABEL)})


def test_loss_is_binary_cross_entropy_averaged_over_the_labels():
    def cross_entropy(expected):
        probability = 1 / (1 + np.exp(-SCORES))
        return -expected * np.log(probability) - (1 - expected) * np.log(1 - probability)

    labels = ["a", "b"], ["a"], ["a"], []
    np.testing.assert_allclose(loss(fit(*labels)), cross_entropy(1.0 * HAS_LABEL).mean(1), rtol=1e-5)
    smooth = cross_entropy(0.1 + 0.8 * HAS_LABEL).mean(1)
    np.testing.assert_allclose(loss(fit(*labels, label_smoothing=0.2)), smooth, rtol=1e-5)
    # Texts with the label have half of the total weight of four, and those without it the other half.
    weights = np.array([[4 / 2 / 3, 4 / 2 / 3], [4 / 2 / 1, 4 / 2 / 1]])
    weighted = (weights * cross_entropy(1.0 * HAS_LABEL)).mean(1)
    np.testing.assert_allclose(loss(fit(*labels, class_weights="balanced")), weighted, rtol=1e-3)


def test_balanced_weights_have_a_limit():
    rare = [["a", "b"], *[["b"], []] * 500]
    balanced, plain = (loss(fit(*rare, class_weights=weights)).numpy() for weights in ("balanced", "none"))
    with_label, without_label = np.log1p(np.exp(-2.0)), np.log1p(np.exp(0.5))
    # A text with `a` would have a weight of 500, and one without it 0.5; `b` is present in about half of the texts.
    np.testing.assert_allclose(balanced[0] - plain[0], (20 - 1) * with_label / 2, rtol=5e-3)
    np.testing.assert_allclose(balanced[1] - plain[1], (0.5 - 1) * without_label / 2, rtol=5e-3)


def test_outputs_are_the_labels_that_reach_their_thresholds():
    task = fit(["a", "b", "c"], [])
    probabilities = [[0.6, 0.3, 0.95], [0.4, 0.1, 0.8], [0.1, 0.7, 0.1]]
    outputs = applied(task, logits_of(probabilities), thresholds=np.float32([0.5, 0.2, 0.9]))
    assert outputs.keys() == {"labels", "label_probabilities", "num_labels", "probabilities"}
    assert outputs["labels"].tolist() == [[b"c", b"a", b"b"], [b"", b"", b""], [b"b", b"", b""]]
    np.testing.assert_allclose(outputs["label_probabilities"], [[0.95, 0.6, 0.3], [0, 0, 0], [0.7, 0, 0]], rtol=1e-5)
    assert outputs["num_labels"].tolist() == [3, 0, 1] and outputs["num_labels"].dtype == np.int32
    np.testing.assert_allclose(outputs["probabilities"], probabilities, rtol=1e-5)


def test_other_outputs_pass_through_the_decision():
    task = fit(["a", "b"], [], out_of_domain="none")
    outputs = task.decode_texts(tf.constant([[1.0, -1.0]])) | {"truncated": tf.constant([True])}
    served = task.decision.apply(outputs, task.decision.initial())
    assert {output.name for output in task.outputs} == served.keys()
    assert served["truncated"].numpy().tolist() == [True]
    assert served["labels"].numpy().tolist() == [[b"a"]]


@pytest.mark.parametrize("batch", [0, 2])
def test_outputs_without_any_label_have_one_column(batch):
    outputs = applied(fit(["a", "b"], []), np.full([batch, 2], -3.0, np.float32))
    assert outputs["labels"].shape == outputs["label_probabilities"].shape == (batch, 1)
    assert outputs["num_labels"].tolist() == [0] * batch


def test_labels_of_equal_probability_are_ordered_by_their_logits():
    outputs = applied(fit(["a", "b", "c"], []), [[40.0, 60.0, 50.0]])
    assert outputs["probabilities"].tolist() == [[1.0, 1.0, 1.0]]
    assert outputs["labels"].tolist() == [[b"b", b"c", b"a"]]


def test_thresholds_are_one_half_before_validation():
    initial = fit(["a", "b"], []).decision.initial()
    assert initial["thresholds"].tolist() == [0.5, 0.5]
    assert initial["threshold_sources"].tolist() == [ThresholdSource.UNDECIDED] * 2


def test_thresholds_are_fitted_to_raw_outputs_and_used():
    rng = np.random.default_rng(0)
    gold = list(rng.random((60, 2)) < [0.5, 0.3])
    probabilities = (0.2 + 0.1 * np.stack(gold) + 0.05 * rng.random((60, 2))).astype(np.float32)
    task = fit(["a"], ["b"])
    raw = {name: value.numpy() for name, value in task.decode_texts(logits_of(probabilities)).items()}
    before, decided = task.decision.initial(), task.decision.fit({"validation": Predicted(raw, gold)})
    assert decided["threshold_sources"].tolist() == [ThresholdSource.OWN] * 2
    assert decided["thresholds"][0] == pytest.approx(0.275, abs=0.01)
    for name, spec in task.decision.specs.items():
        for values in (before, decided):
            assert (values[name].shape, values[name].dtype) == (tuple(spec.shape), spec.dtype.as_numpy_dtype)
    served = {"probabilities": probabilities}
    assert task.evaluate(served, gold, before).values()["micro_f1"] == 0
    assert task.evaluate(served, gold, decided).values()["micro_f1"] == 1
    chosen = applied(task, logits_of(probabilities), **decided)
    assert (chosen["num_labels"] == np.stack(gold).sum(1)).all()


def test_the_signatures_of_multilabel():
    task = fit(["a", "b"], [])
    thresholds = tf.Variable([0.25, 0.75])
    probabilities = tf.constant([[0.1, 0.2], [0.3, 0.4]])
    requests = []

    def predict(text):
        requests.append(text.numpy().tolist())
        return {"probabilities": probabilities}

    signatures = task.signatures(Served(predict, None, None, {"thresholds": thresholds}))
    outputs = signatures["labels"](tf.constant([1, -1, 2, 0]))
    assert outputs["label"].numpy().tolist() == [b"b", b"", b"", b"a"]
    assert outputs["threshold"].numpy().tolist() == [0.75, 0, 0, 0.25]
    # The thresholds are variables, not constants of the graph.
    thresholds.assign([0.5, 0.5])
    assert signatures["labels"](tf.constant([1]))["threshold"].numpy().tolist() == [0.5]
    serialized = []
    for text in (b"one", b"two"):
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))
        serialized.append(tf.train.Example(features=tf.train.Features(feature={"text": feature})).SerializeToString())
    outputs = signatures["classify"].python_function(tf.constant(serialized))
    assert requests == [[b"one", b"two"]]
    assert outputs["classes"].numpy().tolist() == [[b"a", b"b"]] * 2
    np.testing.assert_array_equal(outputs["scores"], probabilities)


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_the_head_starts_with_the_prevalence_of_train(weights):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(1500, 4)).astype(np.float32)
    has_label = np.stack([vectors[:, 0] + rng.normal(0, 0.3, 1500) > 1.5, rng.random(1500) < 0.5], axis=1)
    counts = tuple(int(count) for count in has_label.sum(0))
    task = FittedMultilabel(
        options=LabelOptions(class_weights=weights), has_pair=False, labels=("a", "b"), counts=counts, num_examples=1500
    )
    head = task.head(seed=0)
    head.build(4)
    task.initialize_head(head, lambda indices: vectors[indices], SimpleNamespace(targets={"has_label": has_label}), 0)
    probabilities = 1 / (1 + np.exp(-(vectors @ head.logits.kernel.numpy() + head.logits.bias.numpy())))
    assert reference.roc_auc_score(has_label[:, 0], probabilities[:, 0]) > 0.97
    if weights == "none":
        np.testing.assert_allclose(probabilities.mean(0), has_label.mean(0), atol=0.03)
    else:
        assert probabilities[:, 0].mean() > 1.5 * has_label[:, 0].mean()


def test_the_head_keeps_random_weights_if_start_is_random():
    task = fit(["a"], ["b"], start="random", pooling="cls", dropout=0.4)
    head = task.head(seed=0)
    head.build(4)
    before = head.logits.kernel.numpy()
    task.initialize_head(head, pytest.fail, None, 0)
    np.testing.assert_array_equal(head.logits.kernel, before)
    assert head.pooling == "cls" and head.dropout.rate == 0.4


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Write texts whose labels are the topics of their words; some texts have no labels."""
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


def test_a_run_learns_and_its_scores_are_those_of_its_outputs(problem, run_dir):
    saved = load_run(run_dir)
    task, decided = saved.task, saved.predictor.decided_values()
    assert task == problem.task
    records = {name: list(problem.splits[name]) for name in ("validation", "test")}
    gold = {name: np.stack([task.gold(record) for record in split]) for name, split in records.items()}
    outputs = {name: saved.predictor([task.inputs_of(record) for record in split]) for name, split in records.items()}
    expected = [
        best_threshold(has_label, probabilities, decided["thresholds"][0])
        for has_label, probabilities in zip(gold["validation"].T, outputs["validation"]["probabilities"].T, strict=True)
    ]
    assert decided["threshold_sources"].tolist() == [ThresholdSource.OWN] * 3
    # The last digits of probabilities depend on the batches, which differ from those of the fit.
    np.testing.assert_allclose(decided["thresholds"], expected, atol=1e-5)
    chosen = [{name.decode() for name in row if name} for row in outputs["test"]["labels"]]
    has_label = np.array([[label in names for label in task.labels] for names in chosen])
    scores = {name: metric["value"] for name, metric in saved.report["test"]["metrics"].items()}
    assert scores["micro_f1"] == pytest.approx(reference.f1_score(gold["test"], has_label, average="micro"))
    assert scores["macro_f1"] == pytest.approx(reference.f1_score(gold["test"], has_label, average="macro"))
    assert scores["subset_accuracy"] == pytest.approx(reference.accuracy_score(gold["test"], has_label))
    precision = reference.average_precision_score(gold["test"], outputs["test"]["probabilities"])
    assert scores["mean_average_precision"] == pytest.approx(precision, abs=1e-4)
    assert precision > gold["test"].mean() + 0.2
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert "Thresholds" in page and "Labels per text" in page


def test_the_data_checks_count_every_label_of_a_text(problem):
    counts = problem.checked.class_counts["train"]
    assert counts == dict(zip(problem.task.labels, problem.task.counts, strict=True))
    assert sum(counts.values()) != problem.checked.num_examples["train"]


def test_labels_that_seem_joined_by_commas_cause_a_warning(tmp_path):
    rows = "x,toxic\ny,obscene\nz,\nw,obscene;toxic\nv,toxic\n" + 'u,"toxic, obscene"\ns,"good, bad"\n'
    write(tmp_path / "train.csv", "text,labels\n" + rows)
    write(tmp_path / "test.csv", "text,labels\nr,toxic\n")
    values = {"data.path": str(tmp_path), "encoder.name": "tiny", "encoder.sequence_length": 16}
    values |= {"data.validation_fraction": 0.0}
    warnings = prepare(override(Config(task="multilabel"), values)).checked.warnings
    assert [warning for warning in warnings if "joined" in warning] == [
        "1 label looks like several joined by commas: 'toxic, obscene' (1 record, first train.csv:7) "
        "(labels of one cell are separated by ; or |)"
    ]
