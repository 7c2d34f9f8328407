"""Experiment trackers: what is sent and when, resuming, children, errors, and packages that are not installed."""

import importlib.machinery
import importlib.util
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from support import small

from tfbert.config import override
from tfbert.training import trackers
from tfbert.training.progress import Average, EvaluationPoint, Progress
from tfbert.training.tracker_backends import TRACKER
from tfbert.training.trackers import UNTRACKED, Tracker, open_tracker, require_package


class Recorded:
    """A backend that records its calls."""

    def __init__(self, next_step=0, error=None):
        self.next_step, self.error, self.calls = next_step, error, []

    def log(self, steps):
        self.calls += steps
        if self.error:
            raise self.error

    def finish(self, scores, files, step):
        self.calls.append((scores, files, step))

    def close(self, status):
        self.calls.append(status)


def point(update, scores):
    return EvaluationPoint(
        update=update,
        epoch=update / 2,
        num_examples=0,
        num_tokens=0,
        seconds=0.0,
        loss=None,
        learning_rate=0.0,
        scores=scores,
        evaluation_seconds=0.0,
    )


@pytest.fixture
def progress():
    curve = [{"update": update, "loss": 1.0 / update, "learning_rate": 0.1} for update in (1, 2)]
    return Progress(update=2, curve=curve, history=[point(0, {"f1": 0.1}), point(2, {"f1": 0.5, "loss": np.nan})])


STEPS = [
    (0, {"validation/f1": 0.1, "epoch": 0.0}),
    (1, {"train/loss": 1.0, "train/learning_rate": 0.1}),
    (2, {"train/loss": 0.5, "train/learning_rate": 0.1, "validation/f1": 0.5, "epoch": 1.0}),
]


def test_every_step_is_sent_once_with_finite_values(progress):
    backend = Recorded()
    tracker = Tracker(lambda: backend)
    tracker.update(progress)
    assert backend.calls == STEPS
    progress.curve.append({"update": 3, "loss": 0.25, "learning_rate": 0.1})
    progress.history.append(point(3, {"f1": 0.75}))
    tracker.update(progress)
    expected = {"train/loss": 0.25, "train/learning_rate": 0.1, "validation/f1": 0.75, "epoch": 1.5}
    assert backend.calls == [*STEPS, (3, expected)]


def test_a_resumed_training_sends_the_steps_that_are_missing(progress):
    backend = Recorded(next_step=1)
    Tracker(lambda: backend, "held_out").update(progress)
    assert [step for step, _ in backend.calls] == [1, 2]
    assert backend.calls[1][1]["held_out/f1"] == 0.5


def test_final_scores_files_and_the_average_end_the_run(progress, tmp_path):
    backend = Recorded()
    progress.average = Average(updates=[1, 2], scores={"f1": 0.6})
    with Tracker(lambda: backend) as tracker:
        tracker.finish({"final/test_f1": 0.7, "final/test_loss": np.inf}, [tmp_path], progress)
    assert backend.calls == [*STEPS, ({"average/f1": 0.6, "final/test_f1": 0.7}, [tmp_path], 2), "finished"]


def test_an_error_of_the_training_marks_the_run_as_failed():
    backend = Recorded()
    with pytest.raises(KeyError), Tracker(lambda: backend):
        raise KeyError("diverged")
    assert backend.calls == ["failed"]


def test_an_error_of_the_tracker_is_logged_once_and_ends_tracking(progress, caplog):
    backend = Recorded(error=OSError("no network"))
    with Tracker(lambda: backend) as tracker:
        tracker.update(progress)
        progress.history.append(point(3, {}))
        tracker.finish({}, [], progress)
    assert backend.calls == STEPS and caplog.messages == ["train.track: not tracked any more: OSError: no network"]
    caplog.clear()
    Tracker(lambda: 1 / 0).finish({}, [], progress)
    assert caplog.messages == ["train.track: not tracked any more: ZeroDivisionError: division by zero"]


def config_of(track):
    return override(small.config("data"), {"train.track": track})


def test_nothing_is_tracked_by_default(tmp_path):
    assert open_tracker(config_of("none"), tmp_path) is UNTRACKED
    require_package(config_of("none"))


@pytest.mark.parametrize("spec", [None, importlib.machinery.ModuleSpec("wandb", None)])
@pytest.mark.parametrize("track", ["wandb", "mlflow"])
def test_a_missing_package_is_reported_before_training(monkeypatch, track, spec):
    # A directory of this name is found as a package without an origin.
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    problem = f"the package {track}, needed for train.track={track}, is not installed"
    expected = f"{problem}; install it with: pip install -e '.[{track}]'"
    with pytest.raises(ValueError, match=re.escape(expected)):
        require_package(config_of(track))


def test_runs_inside_a_tracked_directory_are_its_children(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setitem(trackers._BACKENDS, "wandb", lambda *arguments: opened.append(arguments) or Recorded())
    inner = tmp_path / "search" / "trials" / "0" / "1"
    inner.mkdir(parents=True)
    for directory in (tmp_path / "search", tmp_path / "search" / "trials" / "0"):
        (directory / TRACKER).write_text("{}")
    open_tracker(config_of("wandb"), inner)
    ((params, run_dir, groups),) = opened
    assert params["train.track"] == "wandb" and params["encoder.sequence_length"] == 32
    assert run_dir == inner and groups == [tmp_path / "search" / "trials" / "0", tmp_path / "search"]


class FakeRun:
    """A run of the fake package `wandb`."""

    offline, starting_step, id, dir = True, 0, "id", "wandb/run/files"

    def __init__(self, settings):
        self.settings, self.logged, self.summary, self.artifacts = settings, [], {}, []

    def log(self, values, step):
        self.logged.append((step, values))

    def log_artifact(self, artifact):
        self.artifacts.append(artifact)

    def finish(self, exit_code):
        self.exit_code = exit_code


class FakeArtifact:
    def __init__(self, name, type):
        self.files = []

    def add_file(self, path, policy):
        self.files.append(path.rpartition("/")[2])


@pytest.fixture
def wandb(monkeypatch):
    """Put a fake package in the place of `wandb`, and return the list of its runs."""
    runs = []
    fake = SimpleNamespace(
        init=lambda **settings: runs.append(FakeRun(settings)) or runs[-1],
        Settings=dict,
        Artifact=FakeArtifact,
        __spec__=SimpleNamespace(origin="wandb/__init__.py"),
    )
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    return runs


def test_a_tracked_training_has_the_same_weights_and_all_steps(wandb, make_trainer, base_problem, tmp_path):
    trainers = [make_trainer(examples=12, train__epochs=2) for _ in range(2)]
    trainers[1].tracker = open_tracker(override(base_problem.config, {"train.track": "wandb"}), tmp_path)
    progress = [trainer.train() for trainer in trainers]
    weights = [[np.asarray(variable) for variable in trainer.model.weights] for trainer in trainers]
    assert all(np.array_equal(plain, tracked) for plain, tracked in zip(*weights, strict=True))
    assert progress[0].curve == progress[1].curve
    (run,) = wandb
    # 12 examples in batches of 8, with the evaluation before training as step 0.
    assert [step for step, _ in run.logged] == list(range(5))
    assert [step for step, values in run.logged if "validation/accuracy" in values] == [0, 2, 4]
    assert [values["train/loss"] for step, values in run.logged if step] == [p["loss"] for p in progress[1].curve]
    assert run.settings["mode"] == "offline" and run.settings["dir"] == str(tmp_path)


@pytest.mark.slow
def test_a_run_sends_its_scores_and_its_report(wandb, base_problem, tmp_path):
    from tfbert.training import run

    config = override(base_problem.config, {"train.track": "wandb", "train.epochs": 1})
    report = run.train(base_problem.with_config(config), tmp_path / "run", num_seeds=2)
    # The runs of both seeds are children of the whole run, which is opened before and after them.
    assert [tracked.settings["name"] for tracked in wandb] == ["run", "seed-0", "seed-1", "run"]
    assert [tracked.settings["group"] for tracked in wandb] == ["run"] * 4
    assert [tracked.settings["id"] for tracked in wandb[::3]] == [wandb[0].settings["id"]] * 2
    scores = [tracked.summary.get("final/test_accuracy") for tracked in wandb]
    assert scores[0] is None and scores[1:3] == report["seeds"]["test"]["accuracy"]["values"]
    assert scores[3] == report["test"]["metrics"]["accuracy"]["value"]
    assert wandb[1].artifacts[0].files == ["report.json", "report.html", "config.json"]
    assert [tracked.exit_code for tracked in wandb] == [0] * 4
