"""The loop over trials: termination, kills and failures, and the weights that are kept."""

import csv
import os

import pytest
from support.search_fakes import FITS, GRID, SPACE, Killed, quality

from tfbert.files import WriteError
from tfbert.hyperparameters import loop
from tfbert.hyperparameters.trials import FAILED, FINISHED, STOPPED, ranked, read_trial, read_trials
from tfbert.interrupts import Stopped
from tfbert.space import Choice
from tfbert.training.updates import Diverged

PLANS = {
    "random": {"trials": 6},
    "bayesian": {"trials": 5},
    "hyperband": {},
    "grid": {"space": GRID},
}


def values(trials):
    return [trial.values for trial in trials]


@pytest.mark.parametrize("algorithm", PLANS)
def test_every_algorithm_ends_with_different_trials(make_searcher, trainings, tmp_path, algorithm):
    make_searcher(algorithm=algorithm, **PLANS[algorithm]).search()
    trials = read_trials(tmp_path)
    assert all(trial.state == FINISHED for trial in trials)
    assert [trial.score for trial in trials] == [pytest.approx(quality(config)) for config in trainings]
    if algorithm == "hyperband":
        # Successive halving gives the same values more epochs.
        assert {trial.values["train.epochs"] for trial in trials} == {1, 3, 9}
        assert len(set(map(repr, values(trials)))) == len(trials)
    else:
        expected = PLANS[algorithm].get("trials") or 3 * (1 + 2)
        assert len(trials) == len(set(map(repr, values(trials)))) == expected
    for trial in trials:
        assert ("head.dropout" in trial.values) == (trial.values["head.pooling"] == "cls")


@pytest.mark.parametrize("algorithm", PLANS)
@pytest.mark.parametrize(
    ("name", "moment"), [("oracle.json", "before"), ("oracle.json", "after"), ("trial.json", "after")]
)
def test_a_search_killed_at_any_write_gives_the_result_of_an_uninterrupted_one(
    make_searcher, trainings, tmp_path, monkeypatch, algorithm, name, moment
):
    make_searcher(algorithm=algorithm, **PLANS[algorithm]).search()
    uninterrupted = read_trials(tmp_path)
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    replace, num_writes = os.replace, 0

    def replace_or_kill(source, target):
        nonlocal num_writes
        is_watched = os.path.basename(target) == name
        num_writes += is_watched
        # Only at some writes, because the search would otherwise make no progress.
        is_now = is_watched and num_writes % 3 == 2
        if is_now and moment == "before":
            raise Killed
        replace(source, target)
        if is_now:
            raise Killed

    monkeypatch.setattr(os, "replace", replace_or_kill)
    kill_count = 0
    while True:
        try:
            make_searcher(algorithm=algorithm, **PLANS[algorithm]).search()
            break
        except Killed:
            kill_count += 1
    trials = read_trials(tmp_path)
    assert kill_count >= len(uninterrupted) // 2
    assert [trial.id for trial in trials] == [trial.id for trial in uninterrupted]
    assert values(trials) == values(uninterrupted)
    assert [trial.score for trial in trials] == [trial.score for trial in uninterrupted]


def test_later_trials_have_better_scores(make_searcher, tmp_path):
    make_searcher(algorithm="bayesian", trials=9).search()
    scores = [trial.score for trial in read_trials(tmp_path)]
    random_scores, chosen_scores = scores[:3], scores[5:]
    assert sum(chosen_scores) / len(chosen_scores) > sum(random_scores) / len(random_scores)


def test_a_trial_that_diverges_fails_and_the_search_continues(make_searcher, tmp_path, monkeypatch):
    fit = loop.run.fit

    def diverge_with_cls(problem, config, *args, **kwargs):
        if config.head.pooling == "cls":
            raise Diverged("loss became nan at update 3 of epoch 1")
        return fit(problem, config, *args, **kwargs)

    monkeypatch.setattr(loop.run, "fit", diverge_with_cls)
    make_searcher(algorithm="grid", space=GRID).search()
    trials = read_trials(tmp_path)
    assert len(trials) == 9
    for trial in trials:
        failed = trial.values["head.pooling"] == "cls"
        assert (trial.state, trial.score is None) == ((FAILED, True) if failed else (FINISHED, False))
        assert trial.notes == (["loss became nan at update 3 of epoch 1"] if failed else [])


def test_the_search_stops_if_all_trials_fail(make_searcher, tmp_path, monkeypatch):
    def always_diverge(*args, **kwargs):
        raise Diverged("loss became nan")

    monkeypatch.setattr(loop.run, "fit", always_diverge)
    with pytest.raises(ValueError, match=r"the search has stopped: .*exceeded the limit of 10(.|\n)*loss became nan"):
        make_searcher(algorithm="random", trials=30).search()
    assert len(read_trials(tmp_path)) == 10


def test_the_search_stops_at_once_if_the_data_are_invalid(make_searcher, tmp_path, monkeypatch):
    def reject_data(*args, **kwargs):
        raise ValueError("train.csv:41: label 'refnd' is not one of the 77 labels")

    monkeypatch.setattr(loop.run, "fit", reject_data)
    with pytest.raises(ValueError, match=r"train\.csv:41"):
        make_searcher(algorithm="random", trials=30).search()
    assert len(read_trials(tmp_path)) == 1


def test_out_of_memory_halves_the_batch_and_doubles_the_accumulation(make_searcher, trainings, tmp_path):
    space = {"train.batch_size": Choice(8, 4 * FITS), "train.epochs": Choice(1, 2)}
    searcher = make_searcher(algorithm="grid", space=space)
    searcher.search()
    assert [(c.train.batch_size, c.train.accumulation_steps) for c in trainings] == [(8, 1), (8, 1), (32, 4), (32, 4)]
    large = read_trial(tmp_path, "0002")
    assert large.values["train.batch_size"] == 4 * FITS and large.halvings == 2
    assert large.notes == [
        "out of memory with batches of 128; continues with 64 and more accumulation steps",
        "out of memory with batches of 64; continues with 32 and more accumulation steps",
    ]
    assert searcher.values_of(large) == {**large.values, "train.batch_size": 32, "train.accumulation_steps": 4}


def test_a_full_disk_is_not_treated_as_lack_of_memory(make_searcher, tmp_path, monkeypatch):
    def fill_disk(*args, **kwargs):
        raise loop.tf.errors.ResourceExhaustedError(None, None, "events.v2; No space left on device")

    monkeypatch.setattr(loop.run, "fit", fill_disk)
    with pytest.raises(WriteError, match=r"trials/\w+/0: cannot be written: the disk is full"):
        make_searcher(algorithm="random", trials=3).search()
    (trial,) = read_trials(tmp_path)
    assert (trial.state, trial.halvings) == (loop.trial_store.RUNNING, 0)


def test_a_trial_stopped_by_a_signal_is_resumed(make_searcher, trainings, tmp_path, monkeypatch):
    fit, stopped = loop.run.fit, []

    def stop_once(*args, **kwargs):
        if len(trainings) == 1 and not stopped:
            stopped.append(True)
            raise Stopped("saved")
        return fit(*args, **kwargs)

    monkeypatch.setattr(loop.run, "fit", stop_once)
    with pytest.raises(Stopped):
        make_searcher(algorithm="random", trials=3).search()
    assert [trial.state for trial in read_trials(tmp_path)] == [FINISHED, loop.trial_store.RUNNING]
    make_searcher(algorithm="random", trials=3).search()
    assert [trial.state for trial in read_trials(tmp_path)] == [FINISHED] * 3
    assert len(trainings) == 3


@pytest.mark.parametrize("kept", [1, 3])
def test_only_the_best_keep_their_weights(make_searcher, tmp_path, kept):
    maximum = 0
    searcher = make_searcher(algorithm="random", trials=12, kept=kept, executions=2)
    end = searcher.oracle.end_trial

    def counting(keras_trial):
        nonlocal maximum
        maximum = max(maximum, len(list(tmp_path.rglob("best.safetensors"))))
        end(keras_trial)

    searcher.oracle.end_trial = counting
    searcher.search()
    best = ranked(read_trials(tmp_path), True)[:kept]
    # The second seed is a little better.
    expected = {tmp_path / "trials" / trial.id / "1" / "best.safetensors" for trial in best}
    assert set(tmp_path.rglob("best.safetensors")) == expected
    # The executions of the running trial are added.
    assert maximum == kept + 2


def test_executions_have_different_seeds_and_the_score_is_their_mean(make_searcher, trainings, tmp_path):
    make_searcher(algorithm="random", trials=2, executions=3).search()
    assert [config.train.seed for config in trainings] == [0, 1, 2] * 2
    for trial, configs in zip(read_trials(tmp_path), (trainings[:3], trainings[3:]), strict=True):
        assert trial.score == pytest.approx(sum(map(quality, configs)) / 3)
        assert len(trial.histories) == 3


def test_a_trial_worse_than_the_median_stops_early(make_searcher, trainings, tmp_path):
    searcher = make_searcher(algorithm="random", trials=14, stop_hopeless=True)
    searcher.search()
    trials = read_trials(tmp_path)
    stopped = [trial for trial in trials if trial.state == STOPPED]
    assert stopped and all(len(trial.histories[0]) < trial.epochs for trial in stopped)
    assert all(len(trial.histories[0]) == trial.epochs for trial in trials if trial.state == FINISHED)
    assert ranked(trials, True)[0].state == FINISHED


def test_used_hours_are_kept_across_restarts(make_searcher, tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("tfbert.hyperparameters.oracles.time.monotonic", lambda: now[0])
    fit = loop.run.fit

    def fit_for_half_an_hour(*args, **kwargs):
        now[0] += 1800
        if len(read_trials(tmp_path)) == 3:
            raise Killed
        return fit(*args, **kwargs)

    monkeypatch.setattr(loop.run, "fit", fit_for_half_an_hour)
    with pytest.raises(Killed):
        make_searcher(algorithm="random", hours=2.2).search()
    now[0] += 1e6  # no process was searching in between
    monkeypatch.setattr(loop.run, "fit", lambda *a, **k: now.__setitem__(0, now[0] + 1800) or fit(*a, **k))
    make_searcher(algorithm="random", hours=2.2).search()
    # Two trials before the kill; the third, whose first half hour is lost with the process; two more within 2.2 hours.
    assert len(read_trials(tmp_path)) == 5


def test_the_table_has_all_values_and_metrics(make_searcher, tmp_path, caplog):
    caplog.set_level("INFO")
    make_searcher(algorithm="random", trials=3).search()
    with open(tmp_path / "trials.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["trial", "state", "score", *SPACE, "validation_f1", "seconds", "notes"]
    for row, trial in zip(rows, read_trials(tmp_path), strict=True):
        assert float(row["score"]) == trial.score and float(row["validation_f1"]) == trial.metrics["f1"]
        assert float(row["train.learning_rate"]) == trial.values["train.learning_rate"]
        assert row["head.dropout"] == str(trial.values.get("head.dropout", ""))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].split() == ["trial", "F1", "best", "learning_rate", "epochs", "pooling", "dropout", "took", "left"]
    confirmation = lines.pop(2)
    assert confirmation.startswith("  of the time left, the confirmation takes about 0.")
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
