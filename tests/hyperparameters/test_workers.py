"""A chief and its workers over loopback: threads instead of processes, and processes without work."""

import os
import sys
import threading
import time

import pytest
from support.search_fakes import Killed

from tfbert.hyperparameters import loop, workers
from tfbert.hyperparameters.trials import FINISHED, read_trial, read_trials

VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")


@pytest.fixture
def cluster(monkeypatch):
    """Set the environment variables of a chief, and restore them after the test."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    workers.Processes(0, [])
    assert workers.is_chief()


def in_threads(*functions):
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    return threads


def test_roles(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert workers.role() is None
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker7")
    with pytest.raises(ValueError, match="KERASTUNER_ORACLE_IP is not set; expected all or none"):
        workers.role()
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "8000")
    assert workers.role() == "worker7" and not workers.is_chief()
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    assert workers.is_chief()


@pytest.mark.parametrize("is_seen_at_once", [True, False])
def test_two_workers_share_the_trials_and_a_killed_worker_loses_none(
    make_searcher, trainings, tmp_path, cluster, monkeypatch, is_seen_at_once
):
    monkeypatch.setattr(workers, "_BEAT_SECONDS", 0.1)
    monkeypatch.setattr(workers, "_LOST_SECONDS", 1e6 if is_seen_at_once else 1.5)
    monkeypatch.setattr(workers, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(loop, "_IDLE_SECONDS", 0.05)
    fit, ran, dead, errors = loop.run.fit, {}, [], []

    def fitting(problem, config, run_dir, *args, **kwargs):
        name = threading.current_thread().worker
        ran.setdefault(name, []).append(run_dir.parent.name)
        if name == "worker1" and len(ran[name]) == 2:
            raise Killed
        time.sleep(0.2)
        return fit(problem, config, run_dir, *args, **kwargs)

    monkeypatch.setattr(loop.run, "fit", fitting)

    def work(name):
        threading.current_thread().worker = name
        searcher = workers.with_chief_oracle(make_searcher(algorithm="random", trials=8, persist=False, name=name))
        beating = workers.heartbeat(tmp_path, name)
        try:
            with beating:
                searcher.search()
        except Killed:
            if is_seen_at_once:
                dead.append(name)
            else:
                # A killed process does not remove its heartbeat file.
                (tmp_path / "workers" / name).touch()
        except BaseException as error:
            # Without it, the chief would wait for this worker forever.
            errors.append(error)

    def restart_killed():
        if errors:
            raise errors[0]
        return [dead.pop()] if dead else []

    chief = make_searcher(algorithm="random", trials=8, name="chief")
    threads = in_threads(lambda: work("worker0"), lambda: work("worker1"))
    workers.serve(chief, restart_killed)
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()
    # The chief runs trials that were released after the last worker ended.
    threading.current_thread().worker = "worker0"
    chief.search()
    trials = read_trials(tmp_path)
    assert [trial.state for trial in trials] == [FINISHED] * 8
    lost = ran["worker1"][1]
    assert len(ran["worker1"]) == 2 and ran["worker0"].count(lost) == 1
    assert sorted(ran["worker0"] + ran["worker1"][:1]) == [trial.id for trial in trials]
    assert read_trial(tmp_path, lost).kills == 1
    assert not chief.oracle.ongoing_trials and len(chief.oracle.end_order) == 8


def test_a_trial_that_is_killed_twice_gets_half_the_batch(make_searcher, tmp_path):
    searcher = make_searcher(algorithm="random", trials=3, name="chief")
    keras_trial = searcher.oracle.create_trial("worker0")
    trial = loop.Trial(id=keras_trial.trial_id, values={"train.epochs": 1})
    loop.trial_store.write_trial(tmp_path, trial)
    workers.record_kill(searcher, trial.id)
    assert (read_trial(tmp_path, trial.id).kills, read_trial(tmp_path, trial.id).halvings) == (1, 0)
    workers.record_kill(searcher, trial.id)
    stored = read_trial(tmp_path, trial.id)
    assert (stored.kills, stored.halvings) == (2, 1)
    assert stored.notes == [
        "killed 2 times, maybe for lack of memory, with batches of 32; continues with 16 and more accumulation steps"
    ]


def test_a_trial_that_is_killed_with_batches_of_one_has_failed(make_searcher, tmp_path):
    searcher = make_searcher(algorithm="random", trials=3, name="chief")
    keras_trial = searcher.oracle.create_trial("worker0")
    loop.trial_store.write_trial(tmp_path, loop.Trial(id=keras_trial.trial_id, values={}, halvings=5, kills=11))
    workers.record_kill(searcher, keras_trial.trial_id)
    assert read_trial(tmp_path, keras_trial.trial_id).state == loop.FAILED
    assert read_trial(tmp_path, keras_trial.trial_id).notes == ["killed 12 times, the last time with batches of 1"]


def test_a_worker_that_is_killed_repeatedly_is_not_restarted(cluster, monkeypatch):
    monkeypatch.setattr(workers, "_MAX_RESTARTS", 2)
    processes = workers.Processes(1, ["-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
    processes.start()
    with pytest.raises(ValueError, match="worker0 was killed 3 times"):
        while True:
            processes.restart_killed()
            time.sleep(0.05)


def test_processes_are_restarted_unless_they_ended_with_an_error(cluster, tmp_path):
    code = (
        "import os, signal, sys, pathlib\n"
        f"mark = pathlib.Path({str(tmp_path)!r}) / os.environ['KERASTUNER_TUNER_ID']\n"
        "if not mark.exists():\n    mark.touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.exit(2 if mark.name == 'worker1' else 0)\n"
    )
    processes = workers.Processes(2, ["-c", code])
    processes.start()
    restarted = set()
    with pytest.raises(ValueError, match="worker1 ended with an error; see its message above"):
        while True:
            restarted.update(processes.restart_killed())
            time.sleep(0.05)
    processes.stop()
    assert {"worker1"} <= restarted <= {"worker0", "worker1"}
    assert all(process.poll() is not None for process in processes.running.values())
    assert sys.executable and os.environ["KERASTUNER_TUNER_ID"] == "chief"


def test_a_worker_ended_by_sigterm_is_restarted(cluster, tmp_path):
    code = (
        "import pathlib, sys\n"
        f"mark = pathlib.Path({str(tmp_path)!r}) / 'mark'\n"
        "if not mark.exists():\n    mark.touch(); sys.exit(143)\n"
    )
    processes = workers.Processes(1, ["-c", code])
    processes.start()
    restarted = []
    while processes.running:
        restarted += processes.restart_killed()
        time.sleep(0.02)
    assert restarted == ["worker0"] and processes.restarts == {"worker0": 1}
