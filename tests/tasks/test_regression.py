"""Regression: which numbers are read, in which scale they are learned and answered, and what is refused."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from support import small

from tfbert.config import Config, DataConfig, override
from tfbert.tasks.base import TaskModel, load_task
from tfbert.text.records import Record, read_records
from tfbert.training import run
from tfbert.training.finished import load_run
from tfbert.training.problem import prepare

TASK = load_task("regression")
FACTS = {"mean": 3.0, "scale": 2.0, "lowest": 1.0, "highest": 5.0, "has_pair": False}


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
    return str(caught.value).removesuffix(" (--set data.bad_rows=skip leaves such rows out)")


def facts_of(*values):
    return TASK.read_facts([Record(f"t{i}", value, f"train.csv:{i + 2}") for i, value in enumerate(values)])


def test_numbers_are_read(tmp_path):
    written = ["3", " -0.25 ", "+4.", ".5", "1e3", "2E-2", "007"]
    assert read(write_csv(tmp_path / "a.csv", written)) == [3, -0.25, 4, 0.5, 1000, 0.02, 7]
    assert read(write_csv(tmp_path / "b.csv", ["4"], "text,stars")) == [4]
    assert read(write_csv(tmp_path / "c.csv", ["4"], "text,depth"), columns="value=depth") == [4]
    assert read(write_jsonl(tmp_path / "a.jsonl", "3", "-0.5", '"2.5"')) == [3, -0.5, 2.5]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", '""; wanted a number, such as 3 or -0.25'),
        ("high", '"high"; wanted a number, such as 3 or -0.25'),
        ("nan", '"nan"; wanted a number, such as 3 or -0.25'),
        ("-inf", '"-inf"; wanted a number, such as 3 or -0.25'),
        ("1_000", '"1_000"; wanted a number, such as 3 or -0.25'),
        ("3 stars", '"3 stars"; wanted a number, such as 3 or -0.25'),
        ("3,5", '"3,5"; wanted a number, such as 3 or -0.25, with a point and no separators of thousands'),
        ("1e39", '"1e39"; wanted a finite number, up to 3.4e+38'),
        ("1e999", '"1e999"; wanted a finite number, up to 3.4e+38'),
    ],
)
def test_what_is_no_number_is_refused_with_its_place(tmp_path, value, expected):
    assert message(write_csv(tmp_path / "a.csv", ["1", value])) == f"a.csv:3: value is {expected}"


@pytest.mark.parametrize("value", ["null", "true", "[3]", '{"a": 1}'])
def test_json_that_is_no_number_is_refused(tmp_path, value):
    found = message(write_jsonl(tmp_path / "a.jsonl", "1", value))
    assert found == f"a.jsonl:2: value is {value}; wanted a number, such as 3 or -0.25"


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e400", "1" + "0" * 400])
def test_json_numbers_that_are_not_finite_are_refused(tmp_path, value):
    found = message(write_jsonl(tmp_path / "a.jsonl", "1", value))
    assert found.startswith("a.jsonl:2: value is ") and found.endswith("; wanted a finite number, up to 3.4e+38")


def test_facts_are_mean_and_spread():
    facts = facts_of(1.0, 2.0, 6.0)
    assert (facts["mean"], facts["lowest"], facts["highest"], facts["has_pair"]) == (3.0, 1.0, 6.0, False)
    assert facts["scale"] == pytest.approx(np.sqrt(14 / 3))
    assert facts == json.loads(json.dumps(facts))


def test_values_that_do_not_differ_are_refused():
    with pytest.raises(ValueError, match="^every value of train is 0.1; wanted at least two that differ$"):
        facts_of(0.1, 0.1, 0.1)
    with pytest.raises(ValueError, match="^values of train, 1700000000 to 1700000060, have too many digits for float"):
        facts_of(1.7e9, 1.7e9 + 60)
    assert facts_of(1.7e9, 1.71e9)["scale"] == 5e6


def test_the_loss_is_in_standard_deviations():
    targets = [TASK.target_of(Record("t", value, "x:1"), FACTS) for value in (3.0, 5.0, 0.0)]
    assert targets == [0.0, 1.0, -1.5] and targets[0].dtype == np.float32
    batch = {"targets": tf.constant(targets)}
    found = TASK.loss(tf.constant([[0.5], [1.0], [0.5]]), batch, Config())
    np.testing.assert_allclose(found, [0.25, 0.0, 4.0])


def test_answers_are_in_the_units_of_the_data_and_in_their_range():
    found = TASK.decode(tf.constant([[0.0], [0.5], [9.0], [-9.0]]), FACTS)
    assert list(found) == ["value"] and found["value"].dtype == tf.float32
    assert found["value"].numpy().tolist() == [3.0, 4.0, 5.0, 1.0]


def test_scores_are_of_the_answers():
    rng = np.random.default_rng(0)
    gold = list(rng.integers(1, 6, 80).astype(float))
    answers = {"value": (np.asarray(gold) + rng.normal(0, 1, 80)).astype(np.float32)}
    metrics = TASK.scores(answers, gold, FACTS)["metrics"]
    assert metrics["spearman"]["value"] == pytest.approx(stats.spearmanr(gold, answers["value"]).statistic)
    assert metrics["pearson"]["value"] == pytest.approx(stats.pearsonr(gold, answers["value"]).statistic)
    assert metrics["mae"]["value"] == pytest.approx(np.abs(answers["value"] - gold).mean())
    quick = TASK.quick_scores(answers, gold, FACTS)
    assert quick["spearman"] == metrics["spearman"]["value"] and TASK.monitor in quick
    assert quick["loss"] == pytest.approx(np.mean((answers["value"] - gold) ** 2) / 4)


@pytest.mark.parametrize(("option", "value"), [("label_smoothing", 0.1), ("class_weights", "balanced")])
def test_options_of_labels_are_refused(option, value):
    with pytest.raises(ValueError, match=f"train.{option}={value}: there are no labels in regression; wanted"):
        TASK.build_head(FACTS, override(Config(), {f"train.{option}": value}))


def test_the_head_starts_with_ridge_regression_unless_it_should_not():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 4)).astype(np.float32)
    targets = (vectors @ [1.0, -0.5, 0.2, 0.0] + 0.3).astype(np.float32)
    for start in ("probe", "random"):
        config = override(Config(), {"head.start": start, "head.dropout": 0.0})
        head = TASK.build_head(FACTS, config)
        head.build(4)
        model = object.__new__(TaskModel)
        object.__setattr__(model, "head", head)
        before = head.logits.kernel.numpy()
        TASK.start_head(model, lambda indices: vectors[indices], targets, config)
        if start == "probe":
            np.testing.assert_allclose(head.logits.kernel.numpy()[:, 0], [1.0, -0.5, 0.2, 0.0], atol=0.01)
            np.testing.assert_allclose(head.logits.bias, [0.3], atol=0.01)
        else:
            np.testing.assert_array_equal(head.logits.kernel, before)


@pytest.mark.parametrize("has_pair", [False, True])
def test_regress_takes_examples_and_gives_numbers(has_pair):
    asked = {}

    def answer(**inputs):
        asked.update({name: value.numpy().tolist() for name, value in inputs.items()})
        return {"value": tf.constant([1.5, 2.5]), "truncated": tf.constant([False, True])}

    names = ["text", "text_pair"] if has_pair else ["text"]
    serialized = []
    for row in ("one", "two"):
        features = {
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[f"{row} {name}".encode()])) for name in names
        }
        serialized.append(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    regress = TASK.extra_signatures(answer, FACTS | {"has_pair": has_pair})["regress"]
    assert [spec.name for spec in regress.input_signature] == ["inputs"]
    found = regress.python_function(tf.constant(serialized))
    assert list(found) == ["outputs"] and found["outputs"].numpy().tolist() == [1.5, 2.5]
    assert asked == {name: [f"one {name}".encode(), f"two {name}".encode()] for name in names}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Write texts whose value, around 100, depends on their words; a few of test lie beyond those of train."""
    directory = tmp_path_factory.mktemp("data")
    worth = {word: 100 + 10 * index for index, topic in enumerate(sorted(small.TOPICS)) for word in small.TOPICS[topic]}
    for seed, (name, count) in enumerate({"train": 160, "validation": 40, "test": 40}.items(), 1):
        rng = np.random.default_rng(seed)
        with open(directory / f"{name}.csv", "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "value"])
            for index in range(count):
                word = rng.choice(sorted(worth))
                words = [*rng.choice(small.COMMON, 3), word, str(1000 * seed + index)]
                beyond = 50 if name == "test" and index in (7, 9) else 0
                writer.writerow([" ".join(words), worth[word] + beyond])
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


def test_values_beyond_those_of_train_are_remarked(problem):
    expected = "test: 2 values lie outside of 100 to 120, the range of train and of answers: test.csv:9, test.csv:11"
    assert expected in problem.checked.warnings
    assert not any(line.startswith("validation: ") for line in problem.checked.warnings)


def test_a_run_learns_values_in_their_own_units(problem, run_dir):
    finished = load_run(run_dir)
    records = list(problem.splits["validation"])
    answers = finished.answering([{"text": record.text} for record in records])
    gold = np.array([record.target for record in records])
    assert answers["value"].shape == (40,)
    assert 100 <= answers["value"].min() < answers["value"].max() <= 120
    found = {name: metric["value"] for name, metric in finished.report["validation"]["metrics"].items()}
    assert found["mae"] == pytest.approx(np.abs(answers["value"] - gold).mean(), rel=1e-4)
    assert found["spearman"] == pytest.approx(stats.spearmanr(gold, answers["value"]).statistic, abs=1e-3)
    # Far better than the mean of train for all.
    assert found["spearman"] > 0.6 and found["mae"] < 0.7 * np.abs(gold - gold.mean()).mean()
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert "Predicted and true values" in page and "Errors by true value" in page
    assert finished.report["test"]["per_label"] == {}
