"""Regression: accepted and rejected numbers, standardized targets, predictions in the units of the data."""

import csv
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from support import small

from tfbert.config import Config, DataConfig, override
from tfbert.models.saved_run import load_run
from tfbert.tasks.base import fitted_from_json
from tfbert.tasks.base_config import monitored_metric, used_options
from tfbert.tasks.base_context import Served
from tfbert.tasks.regression import TASK, FittedRegression, RegressionOptions
from tfbert.text.record_sequences import RecordSequences
from tfbert.text.records import Record, read_records
from tfbert.training import run
from tfbert.training.problem import prepare


def read(path, **settings):
    return [record.target for record in read_records(path, DataConfig(**settings), TASK.schema)]


def write_csv(path, values, header="text,value"):
    lines = [header, *(f'text {index},"{value}"' for index, value in enumerate(values))]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_jsonl(path, *values):
    path.write_text("".join(f'{{"text": "t", "value": {value}}}\n' for value in values), encoding="utf-8")
    return path


def message(path, **settings):
    with pytest.raises(ValueError) as caught:
        read(path, **settings)
    return str(caught.value).removesuffix(" (--set data.bad_rows=skip skips such rows)")


def fit(*values):
    records = [Record(f"t{i}", value, f"train.csv:{i + 2}") for i, value in enumerate(values)]
    return TASK.fit(records, RegressionOptions(dropout=0.3))


def fitted(*, has_pair=False, **options):
    distribution = {"mean": 3.0, "scale": 2.0, "lowest": 1.0, "highest": 5.0}
    return FittedRegression(options=RegressionOptions(**options), has_pair=has_pair, **distribution)


def test_numbers_are_parsed(tmp_path):
    written = ["3", " -0.25 ", "+4.", ".5", "1e3", "2E-2", "007"]
    assert read(write_csv(tmp_path / "a.csv", written)) == [3, -0.25, 4, 0.5, 1000, 0.02, 7]
    assert read(write_csv(tmp_path / "b.csv", ["4"], "text,stars")) == [4]
    assert read(write_csv(tmp_path / "c.csv", ["4"], "text,depth"), columns="value=depth") == [4]
    assert read(write_jsonl(tmp_path / "a.jsonl", "3", "-0.5", '"2.5"')) == [3, -0.5, 2.5]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", '""; expected a number, such as 3 or -0.25'),
        ("high", '"high"; expected a number, such as 3 or -0.25'),
        ("nan", '"nan"; expected a number, such as 3 or -0.25'),
        ("-inf", '"-inf"; expected a number, such as 3 or -0.25'),
        ("1_000", '"1_000"; expected a number, such as 3 or -0.25'),
        ("3 stars", '"3 stars"; expected a number, such as 3 or -0.25'),
        ("3,5", '"3,5"; expected a number, such as 3 or -0.25, with a decimal point and no thousands separators'),
        ("1e39", '"1e39"; expected a finite number, up to 3.4e+38'),
        ("1e999", '"1e999"; expected a finite number, up to 3.4e+38'),
    ],
)
def test_a_value_that_is_not_a_number_is_rejected_with_its_place(tmp_path, value, expected):
    assert message(write_csv(tmp_path / "a.csv", ["1", value])) == f"a.csv:3: value is {expected}"


@pytest.mark.parametrize("value", ["null", "true", "[3]", '{"a": 1}'])
def test_a_json_value_that_is_not_a_number_is_rejected(tmp_path, value):
    error = message(write_jsonl(tmp_path / "a.jsonl", "1", value))
    assert error == f"a.jsonl:2: value is {value}; expected a number, such as 3 or -0.25"


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e400", "1" + "0" * 400])
def test_json_numbers_that_are_not_finite_are_rejected(tmp_path, value):
    error = message(write_jsonl(tmp_path / "a.jsonl", "1", value))
    assert error.startswith("a.jsonl:2: value is ") and error.endswith("; expected a finite number, up to 3.4e+38")


def test_mean_scale_and_range_are_those_of_train():
    task = fit(1.0, 2.0, 6.0)
    assert (task.mean, task.lowest, task.highest, task.has_pair) == (3.0, 1.0, 6.0, False)
    assert task.scale == pytest.approx(np.sqrt(14 / 3))
    assert task.options == RegressionOptions(dropout=0.3) and task.num_scores == 1


def test_a_fitted_task_survives_json():
    options = RegressionOptions(
        dropout=0.3,
        part_tokens=64,
        head_learning_rate_factor=2.0,
        pooling="max",
        start="random",
        long_text="mean",
        counterfactuals="gender",
        window_overlap_fraction=0.5,
        coverage=0.8,
        out_of_domain="energy",
        evidence=9,
        noise=0.1,
    )
    assert not any(getattr(options, field.name) == field.default for field in dataclasses.fields(options))
    for task in (
        FittedRegression(options=options, has_pair=False, mean=0.1, scale=1 / 3, lowest=-2e30, highest=7.0),
        fitted(has_pair=True),
    ):
        assert fitted_from_json(json.loads(json.dumps(task.to_json()))) == task


def test_values_that_do_not_differ_are_rejected():
    with pytest.raises(ValueError, match="^every value in train is 0.1; expected at least two that differ$"):
        fit(0.1, 0.1, 0.1)
    with pytest.raises(ValueError, match="^values in train, 1700000000 to 1700000060, have too many digits for float"):
        fit(1.7e9, 1.7e9 + 60)
    assert fit(1.7e9, 1.71e9).scale == 5e6


def test_the_loss_is_in_standard_deviations():
    targets = [fitted().target_of(Record("t", value, "x:1")) for value in (3.0, 5.0, 0.0)]
    assert targets == [0.0, 1.0, -1.5] and targets[0].dtype == np.float32
    losses = fitted().loss(tf.constant([[0.5], [1.0], [0.5]]), {"value": tf.constant(targets)})
    np.testing.assert_allclose(losses, [0.25, 0.0, 4.0])


def test_values_outside_the_range_of_train_cause_warnings():
    warnings = []
    sequences = RecordSequences([np.array([2, 3])] * 2, {})
    for value, target in ((1.0, -1.0), (5.0, 1.0), (5.5, 1.25), (0.0, -1.5)):
        targets = fitted().targets_of(Record("t", value, "x:1"), sequences, warnings.append)
        assert targets == [{"value": target}] * 2
    assert warnings == ["values lie outside 1 to 5, the range of train and of predictions"] * 2


def test_outputs_are_in_the_units_of_the_data_and_in_their_range():
    outputs = fitted().decode_sequences(tf.constant([[0.0], [0.5], [9.0], [-9.0]]), None)
    assert list(outputs) == ["value"] and outputs["value"].dtype == tf.float32
    assert outputs["value"].numpy().tolist() == [3.0, 4.0, 5.0, 1.0]


def test_evaluation_is_of_the_outputs():
    rng = np.random.default_rng(0)
    gold = [fitted().gold(Record("t", value, "x:1")) for value in rng.integers(1, 6, 80).astype(float)]
    outputs = {"value": (np.asarray(gold) + rng.normal(0, 1, 80)).astype(np.float32)}
    evaluation = fitted().evaluate(outputs, gold, {})
    values, intervals = evaluation.values(), evaluation.intervals()
    assert intervals["spearman"]["value"] == pytest.approx(stats.spearmanr(gold, outputs["value"]).statistic)
    assert values["spearman"] == intervals["spearman"]["value"]
    assert values["loss"] == pytest.approx(np.mean((outputs["value"] - gold) ** 2) / 4)


def test_the_mean_absolute_error_cannot_be_monitored():
    assert monitored_metric(fitted(), "pearson").better == "higher"
    assert monitored_metric(fitted(), "loss").better == "lower"
    with pytest.raises(ValueError, match="^train.monitor=mae: expected one of spearman, pearson, loss"):
        monitored_metric(fitted(), "mae")


def test_options_of_labels_are_not_used():
    data = {"data.calibration", "data.calibration_fraction", "data.group_column"}
    assert used_options(TASK) == data | set(RegressionOptions.paths().values())
    assert used_options(TASK).isdisjoint({"train.label_smoothing", "train.class_weights"})


@pytest.mark.parametrize("start", ["probe", "random"])
def test_the_head_starts_with_ridge_regression_unless_start_is_random(start):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 4)).astype(np.float32)
    split = SimpleNamespace(targets={"value": (vectors @ [1.0, -0.5, 0.2, 0.0] + 0.3).astype(np.float32)})
    task = fitted(start=start, dropout=0.0, pooling="cls")
    head = task.head(seed=0)
    head.build(4)
    before = head.logits.kernel.numpy()
    task.initialize_head(head, lambda indices: vectors[indices], split, 0)
    assert (head.pooling, head.dropout.rate) == ("cls", 0.0)
    if start == "probe":
        np.testing.assert_allclose(head.logits.kernel.numpy()[:, 0], [1.0, -0.5, 0.2, 0.0], atol=0.01)
        np.testing.assert_allclose(head.logits.bias, [0.3], atol=0.01)
    else:
        np.testing.assert_array_equal(head.logits.kernel, before)


@pytest.mark.parametrize("has_pair", [False, True])
def test_the_regress_signature_takes_examples_and_returns_numbers(has_pair):
    requests = {}

    def predict(**inputs):
        requests.update({name: value.numpy().tolist() for name, value in inputs.items()})
        return {"value": tf.constant([1.5, 2.5]), "truncated": tf.constant([False, True])}

    names = ["text", "text_pair"] if has_pair else ["text"]
    serialized = []
    for row in ("one", "two"):
        features = {
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[f"{row} {name}".encode()])) for name in names
        }
        serialized.append(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    regress = fitted(has_pair=has_pair).signatures(Served(predict, None, None, {}))["regress"]
    assert [spec.name for spec in regress.input_signature] == ["inputs"]
    outputs = regress.python_function(tf.constant(serialized))
    assert list(outputs) == ["outputs"] and outputs["outputs"].numpy().tolist() == [1.5, 2.5]
    assert requests == {name: [f"one {name}".encode(), f"two {name}".encode()] for name in names}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Write texts with values near 100 that depend on their words; some of test are outside the range of train."""
    directory = tmp_path_factory.mktemp("data")
    values_of_words = {
        word: 100 + 10 * index for index, topic in enumerate(sorted(small.TOPICS)) for word in small.TOPICS[topic]
    }
    for seed, (name, count) in enumerate({"train": 160, "validation": 40, "test": 40}.items(), 1):
        rng = np.random.default_rng(seed)
        with open(directory / f"{name}.csv", "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "value"])
            for index in range(count):
                word = rng.choice(sorted(values_of_words))
                words = [*rng.choice(small.COMMON, 3), word, str(1000 * seed + index)]
                beyond = 50 if name == "test" and index in (7, 9) else 0
                writer.writerow([" ".join(words), values_of_words[word] + beyond])
    return directory


@pytest.fixture(scope="module")
def problem(data_dir):
    values = {"encoder.name": "tiny", "encoder.sequence_length": 32, "encoder.precision": "float32"}
    values |= {"data.path": str(data_dir), "train.epochs": 2, "train.batch_size": 16, "train.learning_rate": 2e-3}
    return prepare(override(Config(task="regression"), values))


@pytest.fixture(scope="module")
def run_dir(problem, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    run.train(problem, path)
    return path


def test_values_outside_the_range_of_train_are_reported(problem):
    warning = "values lie outside 100 to 120, the range of train and of predictions"
    expected = f"test: {warning} (2 cases): test.csv:9, test.csv:11"
    assert expected in problem.checked.warnings
    assert not any(line.startswith("validation: ") for line in problem.checked.warnings)


def test_a_run_predicts_values_in_the_units_of_the_data(problem, run_dir):
    saved = load_run(run_dir)
    assert saved.task == problem.task
    records = list(problem.splits["validation"])
    predicted = saved.predictor([saved.task.inputs_of(record) for record in records])["value"]
    gold = np.array([record.target for record in records])
    assert predicted.shape == (40,)
    assert 100 <= predicted.min() < predicted.max() <= 120
    scores = {name: metric["value"] for name, metric in saved.report["validation"]["metrics"].items()}
    assert scores["mae"] == pytest.approx(np.abs(predicted - gold).mean(), rel=1e-4)
    assert scores["spearman"] == pytest.approx(stats.spearmanr(gold, predicted).statistic, abs=1e-3)
    # Far better than the mean of train for all.
    assert scores["spearman"] > 0.6 and scores["mae"] < 0.7 * np.abs(gold - gold.mean()).mean()
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert "Predicted and true values" in page and "Errors by true value" in page
    assert saved.report["test"]["per_label"] == {}
