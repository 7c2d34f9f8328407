"""What every task owes: from its own samples to a SavedModel that answers like the trained model."""

import json
import os
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfbert.config import Config, override
from tfbert.serving import deploy
from tfbert.serving.predictor import Predictor
from tfbert.serving.scoring import evaluate
from tfbert.space import check_space
from tfbert.tasks.base import list_tasks, load_task
from tfbert.text.datasets import batches
from tfbert.training import run
from tfbert.training.finished import load_run
from tfbert.training.problem import build_models, prepare

REPORT_KEYS = {
    "task", "encoder", "seed", "config", "versions", "command", "data", "checks", "seconds", "history", "best_epoch",
    "validation", "test", "seeds",
}  # fmt: skip
OLDER_PYTHON = os.environ.get("TFBERT_SERVING_PYTHON")
SMALL = {"encoder.name": "tiny", "encoder.sequence_length": 32, "encoder.precision": "float32"}


@pytest.fixture(scope="module", params=list_tasks())
def task(request):
    return load_task(request.param)


@pytest.fixture(scope="module")
def problem(task):
    values = SMALL | {"train.epochs": 1, "train.batch_size": 128}
    return prepare(override(Config(task=task.name), {**task.defaults, **values}))


@pytest.fixture(scope="module")
def run_dir(problem, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    run.train(problem, path, command="python tools/train.py")
    return path


@pytest.fixture(scope="module")
def exported(run_dir, tmp_path_factory):
    """Return the version's directory and what its verification in a fresh process found."""
    return deploy.export_run(run_dir, tmp_path_factory.mktemp("models") / "model")


def test_the_name_is_that_of_the_file(task):
    assert type(task).__module__ == f"tfbert.tasks.{task.name}"
    assert task.title
    assert task.samples_dir.is_dir()


def test_the_defaults_are_fit_and_the_search_space_can_be_searched_around_them(task):
    check_space(task.search_space, override(Config(task=task.name), task.defaults))
    assert "train.learning_rate" in task.search_space
    override(Config(), task.defaults)


def test_facts_are_ready_for_json(problem):
    assert json.loads(json.dumps(problem.facts)) == problem.facts


def test_loss_falls_on_a_repeated_batch(problem, task):
    keras.utils.set_random_seed(0)
    config = override(problem.config, {"encoder.dropout": 0.0, "head.dropout": 0.0})
    model, _ = build_models(problem, config)
    optimizer = keras.optimizers.Adam(0.003)
    batch = next(iter(batches(problem.tokenized["train"], [np.arange(16)], 32)))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            losses = task.loss(model(batch, training=True), batch, config)
            loss = tf.reduce_mean(losses)
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)
        return loss, losses

    optimizer.build(model.trainable_variables)
    found = [step() for _ in range(12)]
    assert len(found[0][1]) == 16
    assert found[0][1].dtype == tf.float32
    assert float(found[-1][0]) < 0.9 * float(found[0][0])


def test_report(problem, task, run_dir):
    report = json.loads((run_dir / "report.json").read_text(encoding="utf-8"))
    assert report.keys() >= REPORT_KEYS
    assert (report["task"], report["seed"], report["encoder"]["name"]) == (task.name, 0, "tiny")
    assert report["config"] == problem.config.to_dict()
    assert report["versions"].keys() >= {"python", "tensorflow", "tensorflow-text", "keras", "numpy"}
    for name, split in problem.splits.items():
        data = report["data"][name]
        assert (data["path"], data["sha256"]) == (str(split.path), split.sha256)
        assert data["num_examples"] == len(problem.tokenized[name].num_tokens)
    assert all(seconds >= 0 for seconds in report["seconds"].values())
    assert task.monitor in report["history"][0]["validation"]
    for name in ("validation", "test"):
        scores = report[name]
        assert scores["num_examples"] == len(problem.tokenized[name].num_tokens)
        assert scores["metrics"]
        for metric in scores["metrics"].values():
            assert metric["low"] <= metric["value"] <= metric["high"]
        assert all("num_examples" in label for label in scores["per_label"].values())


def test_run_directory(run_dir):
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page or "<img" in page
    names = {path.name for path in run_dir.iterdir()}
    assert names >= {"config.json", "model.json", "best.safetensors", "tensorboard"}
    assert "checkpoint.safetensors" not in names


def test_fresh_process_verified_the_export(exported, run_dir):
    version_dir, checked = exported
    assert version_dir.name == "1"
    assert checked["num_items"] == len(load_run(run_dir).samples) > 0
    assert checked["max_difference"] <= 1e-4
    assert checked["warmup_requests"] > 0


def test_reloaded_answers_equal_the_trained_models(exported, run_dir, task):
    finished = load_run(run_dir)
    answers = Predictor(exported[0])(finished.samples)
    expected = finished.answering(finished.samples)
    assert answers.keys() == expected.keys()
    for name, values in expected.items():
        assert len(values) == len(finished.samples)
        if values.dtype.kind == "O":
            assert answers[name].tolist() == values.tolist()
        else:
            np.testing.assert_allclose(answers[name], values, atol=1e-5)


def test_scores_of_the_saved_model_are_those_of_the_report(exported, run_dir, task):
    report = json.loads((run_dir / "report.json").read_text(encoding="utf-8"))
    found = evaluate(exported[0], str(task.samples_dir), {})
    assert found["num_examples"] == report["test"]["num_examples"]
    assert found["per_label"].keys() == report["test"]["per_label"].keys()
    for name, metric in report["test"]["metrics"].items():
        assert found["metrics"][name] == pytest.approx(metric, abs=1e-3)


@pytest.mark.skipif(not OLDER_PYTHON, reason="TFBERT_SERVING_PYTHON names no Python that has TensorFlow 2.20.0")
def test_the_tensorflow_of_stock_servers_answers_alike(exported, run_dir, tmp_path):
    finished = load_run(run_dir)
    path = tmp_path / "expected.json"
    path.write_text(json.dumps({"items": finished.samples, "expected": deploy.expected(finished)}), encoding="utf-8")
    script = Path(__file__).with_name("older_tensorflow.py")
    # Nothing of this environment may be found by the other.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [OLDER_PYTHON, script, exported[0], path]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["tensorflow"].startswith("2.20.")
    assert found["session"] < 1e-5
    assert found["function"] < 1e-5
    assert found["num_batches"] > 0


def test_misspelt_task_names_the_nearest():
    with pytest.raises(ValueError, match="task 'clasification' is not one of .*; nearest is 'classification'"):
        load_task("clasification")
