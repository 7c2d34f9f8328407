"""Fine-tuning runs: reports, several seeds, and repeatability."""

import json
import math
import os
import signal
import statistics

import numpy as np
import pytest
from support import small

from tfbert.config import Config, from_dict, override
from tfbert.interrupts import Stopped
from tfbert.training import fine_tuning, run
from tfbert.training.problem import prepare


def scripted_reports(monkeypatch, validation, test, monitor_scores=None):
    """Replace training with reports of these accuracies by seed; return the list of trained seeds."""
    trained = []

    def train_seed(problem, config, run_dir, command):
        seed = config.train.seed
        trained.append(seed)
        scores = monitor_scores or validation
        report = {
            "seed": seed,
            "config": config.to_dict(),
            "data": {name: {"sha256": split.sha256} for name, split in problem.splits.items()},
            "history": [{"validation": {"accuracy": 0.0, "loss": 9.0}}, {"validation": scores[seed]}],
            "best_epoch": 2,
            "untrained": None,
            "validation": {"metrics": {"accuracy": {"value": validation[seed]["accuracy"]}}},
            "test": {"metrics": {"accuracy": {"value": test[seed]}}},
            "seeds": None,
        }
        (run_dir / "report.json").write_text(json.dumps(report))
        (run_dir / "details.json").write_text("{}")
        return report

    monkeypatch.setattr(run, "train_seed", train_seed)
    monkeypatch.setattr(run.report_page, "render", lambda *_: None)
    return trained


def accuracies(*values):
    return [{"accuracy": value} for value in values]


def test_seeds_are_summarized_and_the_best_is_chosen_by_validation(base_problem, tmp_path, monkeypatch):
    trained = scripted_reports(monkeypatch, accuracies(0.5, 0.8, 0.6), [0.9, 0.7, 0.2])
    report = run.train(base_problem, tmp_path / "run", 3)
    assert trained == [0, 1, 2]
    assert report["seed"] == 1
    seeds = report["seeds"]
    assert (seeds["count"], seeds["seeds"], seeds["best"]) == (3, [0, 1, 2], 1)
    test = seeds["test"]["accuracy"]
    assert test == {"mean": pytest.approx(0.6), "std": pytest.approx(math.sqrt(0.13)), "values": [0.9, 0.7, 0.2]}
    assert seeds["validation"]["accuracy"]["values"] == [0.5, 0.8, 0.6]
    assert json.loads((tmp_path / "run" / "report.json").read_text()) == report
    # The config repeats the run.
    assert from_dict(json.loads((tmp_path / "run" / "config.json").read_text())) == base_problem.config


def test_seeds_are_chosen_by_the_metric_that_is_monitored(base_problem, tmp_path, monkeypatch, data_dir):
    import dataclasses

    monitored = dataclasses.replace(base_problem, config=override(base_problem.config, {"train.monitor": "loss"}))
    scripted_reports(monkeypatch, accuracies(0.5, 0.8), [0.9, 0.7], [{"loss": 0.1}, {"loss": 0.4}])
    assert run.train(monitored, tmp_path / "run", 2)["seeds"]["best"] == 0


def test_finished_seeds_are_not_trained_again(base_problem, tmp_path, monkeypatch):
    values = accuracies(0.5, 0.8), [0.9, 0.7]
    trained = scripted_reports(monkeypatch, *values)
    first = run.train(base_problem, tmp_path / "run", 2)
    (tmp_path / "run" / "report.json").unlink()
    (tmp_path / "run" / "seed-1" / "report.json").unlink()
    assert run.train(base_problem, tmp_path / "run", 2) == first
    assert trained == [0, 1, 1]


def test_finished_seeds_of_another_config_or_other_data_are_refused(base_problem, tmp_path, monkeypatch):
    import dataclasses

    scripted_reports(monkeypatch, accuracies(0.5, 0.8), [0.9, 0.7])
    run.train(base_problem, tmp_path / "run", 2)
    (tmp_path / "run" / "report.json").unlink()
    changed = override(base_problem.config, {"train.weight_decay": 0.5})
    with pytest.raises(ValueError, match=r"seed-0: belongs to another run .*expected an empty --out"):
        run.train(dataclasses.replace(base_problem, config=changed), tmp_path / "run", 2)
    path = small.write_data(tmp_path / "data", train=25)
    other = dataclasses.replace(base_problem, splits=prepare(small.config(path)).splits)
    with pytest.raises(ValueError, match="seed-0: belongs to another run"):
        run.train(other, tmp_path / "run", 2)


def test_a_signal_before_training_takes_effect_after_the_head_is_initialized(base_problem, tmp_path, monkeypatch):
    start, completed = run.initialize_head, []

    def sending(*args):
        os.kill(os.getpid(), signal.SIGINT)
        start(*args)
        completed.append("the start of the head")

    monkeypatch.setattr(run, "initialize_head", sending)
    with pytest.raises(Stopped) as stopped:
        run.fit(base_problem, base_problem.config, tmp_path)
    assert completed == ["the start of the head"]
    assert (stopped.value.number, stopped.value.exit_code) == (signal.SIGINT, 130)
    assert not (tmp_path / "best.safetensors").exists()


def test_a_run_directory_is_resumed_only_if_unfinished(base_problem, tmp_path):
    first = run.choose_run_dir(base_problem, tmp_path)
    assert first.parent == tmp_path / "classification"
    time, suffix = first.name.rsplit("-", 1)
    assert len(suffix) == 8
    # An old timestamp, so that the names of old and new directories differ.
    old = first.with_name(f"20200101-000000-{suffix}")
    old.mkdir(parents=True)
    assert run.choose_run_dir(base_problem, tmp_path) == old
    (old / "report.json").write_text("{}")
    assert run.choose_run_dir(base_problem, tmp_path) != old
    import dataclasses

    other = dataclasses.replace(base_problem, config=override(base_problem.config, {"train.seed": 1}))
    (old / "report.json").unlink()
    assert run.choose_run_dir(other, tmp_path) != old


@pytest.mark.parametrize("pooling", ["mean", "pooler"])
def test_head_only_training_computes_pooled_vectors_once(base_problem, tmp_path, monkeypatch, pooling):
    config = override(base_problem.config, {"train.trainable_layers": 0, "head.pooling": pooling})
    problem = base_problem.with_config(config)
    passed_vectors, losses = [], []
    make = fine_tuning.TaskObjective
    monkeypatch.setattr(fine_tuning, "TaskObjective", lambda *args: passed_vectors.append(args[4]) or make(*args))
    for name, max_bytes in {"held": 2**30, "not held": 0}.items():
        monkeypatch.setattr(fine_tuning, "_MAX_VECTOR_BYTES", max_bytes)
        (tmp_path / name).mkdir()
        losses.append([])
        run.fit(problem, config, tmp_path / name, lambda _, updates: losses[-1].extend(loss for _, loss, _ in updates))
    assert len(losses[0]) == 6
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    # The pooler has weights and is trained with the head, so its vectors change.
    assert [vectors is not None for vectors in passed_vectors] == [pooling == "mean", False]


def test_a_config_without_trainable_weights_is_refused(base_problem, tmp_path):
    config = override(base_problem.config, {"train.trainable_layers": 3})
    with pytest.raises(ValueError, match=r"train.trainable_layers=3: expected at most 2, the layers of tiny"):
        run.fit(base_problem.with_config(config), config, tmp_path)
    config = override(Config(task="matching"), {"encoder.name": "tiny", "encoder.sequence_length": 32})
    with pytest.raises(
        ValueError, match=r"trainable_layers=0: matching has no weights outside the encoder; expected 1"
    ):
        config = override(config, {"train.trainable_layers": 0})
        run.fit(prepare(config), config, tmp_path)


@pytest.fixture(scope="module")
def finished_runs(data_dir, tmp_path_factory):
    """Return the folder and results of runs: with two seeds, with a stored config, and with a train split only."""
    folder = tmp_path_factory.mktemp("runs")
    small.write_data(folder / "train-only", validation=0, test=0)
    tools = small.tools()
    options = {"encoder.sequence_length": 32, "train.batch_size": 8, "train.epochs": 1, "train.learning_rate": 2e-3}
    common = ["--encoder", "tiny", "--no-export", *small.assignments(options)]
    alone = [*common, "--data", "train-only", "--set", "data.validation_fraction=0", "--set", "data.test_fraction=0"]
    chains = [
        [
            tools.step("train", *common, "--data", data_dir, "--out", "two", "--seeds", 2, cwd=folder),
            tools.step("train", "--config", "two/seed-1/config.json", "--no-export", "--out", "again", cwd=folder),
            tools.step("train", *common, "--data", data_dir, "--out", "two", cwd=folder),
        ],
        [tools.step("train", *alone, "--out", "alone", cwd=folder)],
    ]
    (two, again, refused), (alone,) = tools.run(*chains)
    return folder, {"two": two, "again": again, "refused": refused, "alone": alone}


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def test_two_seeds(finished_runs):
    folder, results = finished_runs
    assert results["two"].code == 0, results["two"].err
    report = report_of(folder / "two")
    seed_reports = [report_of(folder / "two" / f"seed-{seed}") for seed in (0, 1)]
    for split in ("validation", "test"):
        for metric, summary in report["seeds"][split].items():
            values = [seed_report[split]["metrics"][metric]["value"] for seed_report in seed_reports]
            assert summary == {"mean": statistics.mean(values), "std": statistics.stdev(values), "values": values}
    assert report["seed"] == report["seeds"]["best"]
    assert (folder / "two" / "report.html").stat().st_size > 1000
    assert f"± {report['seeds']['test']['accuracy']['std']:.4f} over seeds" in results["two"].out


def test_config_of_a_run_repeats_it(finished_runs):
    folder, results = finished_runs
    assert results["again"].code == 0, results["again"].err
    first, again = report_of(folder / "two" / "seed-1"), report_of(folder / "again")
    for name in ("config", "data", "validation", "test", "best_epoch", "encoder"):
        assert again[name] == first[name]
    assert [entry["loss"] for entry in again["history"]] == [entry["loss"] for entry in first["history"]]
    weights = [(folder / name / "best.safetensors").read_bytes() for name in ("two/seed-1", "again")]
    assert weights[0] == weights[1]


def test_finished_directory_is_refused(finished_runs):
    folder, results = finished_runs
    assert results["refused"].code == 2
    assert results["refused"].err.splitlines()[-1] == "train: two: holds a finished run; expected a new --out directory"


def test_data_without_validation_and_test(finished_runs):
    folder, results = finished_runs
    assert results["alone"].code == 0, results["alone"].err
    report = report_of(folder / "alone")
    assert (report["validation"], report["test"]) == (None, None)
    assert report["data"].keys() == {"train"}
    assert report["best_epoch"] == 1
    assert "no test and no validation split: no scores" in results["alone"].out
    assert (folder / "alone" / "report.html").exists()
