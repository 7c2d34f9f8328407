"""Oracles of Keras Tuner that store their whole state in one file and resume from it after a kill at any moment."""

import json

import pytest
from keras_tuner import Objective
from keras_tuner.engine.trial import TrialStatus
from support.search_fakes import GRID, SPACE

from tfbert.config import Config
from tfbert.hyperparameters import oracles
from tfbert.hyperparameters.hypermodel import declare
from tfbert.hyperparameters.oracles import make_oracle
from tfbert.hyperparameters.plan import ALGORITHMS, Plan

SCORES = [0.5, 0.3, 0.9, 0.7]


def open_oracle(path, algorithm="random", hours=None, **values):
    """Return an oracle that stores its state in a file, restored if the file exists."""
    values = {"trials": 6, "space": GRID if algorithm == "grid" else SPACE} | values
    oracle = make_oracle(Plan(config=Config(), algorithm=algorithm, **values), Objective("f1", "max"))
    oracle.persist(path, hours)
    return oracle


def run(oracle, score, tuner="tuner0"):
    """Run one trial and return its values, or `None` if no trial is left."""
    trial = oracle.create_trial(tuner)
    if trial.status != TrialStatus.RUNNING:
        return None
    oracle.update_trial(trial.trial_id, {"f1": score})
    trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)
    return trial.hyperparameters.values


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_oracle_restored_before_every_trial_gives_the_same_trials(tmp_path, algorithm):
    uninterrupted = open_oracle(tmp_path / "whole.json", algorithm)
    expected = [run(uninterrupted, score) for score in SCORES]
    trials = [run(open_oracle(tmp_path / "parts.json", algorithm), score) for score in SCORES]
    assert trials == expected
    assert len({json.dumps(values, sort_keys=True) for values in trials}) == len(SCORES)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_running_trial_is_issued_again(tmp_path, algorithm):
    trial = open_oracle(tmp_path / "oracle.json", algorithm).create_trial("tuner0")
    issued_again = open_oracle(tmp_path / "oracle.json", algorithm).create_trial("tuner0")
    assert (issued_again.trial_id, issued_again.hyperparameters.values) == (
        trial.trial_id,
        trial.hyperparameters.values,
    )


def test_the_trial_of_a_lost_worker_is_issued_to_another(tmp_path):
    oracle = open_oracle(tmp_path / "oracle.json")
    trial = oracle.create_trial("worker0")
    assert oracle.release("worker0") == trial.trial_id
    assert oracle.release("worker0") is None
    assert oracle.create_trial("worker1").trial_id == trial.trial_id
    assert json.loads((tmp_path / "oracle.json").read_text())["state"]["ongoing_trials"] == {"worker1": trial.trial_id}


def test_no_trial_starts_after_the_hours_of_all_processes(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(oracles.time, "monotonic", lambda: now[0])
    first = open_oracle(tmp_path / "oracle.json", hours=1)
    assert run(first, 0.5) is not None
    now[0] += 1800
    assert run(first, 0.5) is not None
    now[0] += 1e6  # no process was searching in between
    second = open_oracle(tmp_path / "oracle.json", hours=1)
    assert second.seconds == pytest.approx(1800)
    assert run(second, 0.5) is not None
    now[0] += 1801
    assert run(second, 0.5) is None


def test_no_file_is_written_in_the_middle_of_a_change(tmp_path, monkeypatch):
    oracle = open_oracle(tmp_path / "oracle.json")
    run(oracle, 0.5)
    before = (tmp_path / "oracle.json").read_text()
    oracle.save()
    assert (tmp_path / "oracle.json").read_text() == before
    run(oracle, 0.7)
    assert (tmp_path / "oracle.json").read_text() != before
    assert [path.name for path in tmp_path.iterdir()] == ["oracle.json"]


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "oracle.json").write_text('{"state": ')
    with pytest.raises(ValueError, match="oracle.json"):
        open_oracle(tmp_path / "oracle.json")


@pytest.mark.parametrize(("trials", "expected"), [(3, 2), (9, 3), (60, len(SPACE) + 1), (None, len(SPACE) + 1)])
def test_some_trials_are_random_before_the_gaussian_process_is_used(tmp_path, trials, expected):
    oracle = open_oracle(tmp_path / "oracle.json", "bayesian", trials=trials, **({} if trials else {"hours": 1}))
    assert oracle.num_initial_points == expected


def test_the_space_is_that_of_the_plan(tmp_path):
    oracle = open_oracle(tmp_path / "oracle.json")
    expected = oracles.HyperParameters()
    declare(SPACE, Config(), expected)
    assert [dim.get_config() for dim in oracle.get_space().space] == [dim.get_config() for dim in expected.space]
