"""Records of trials: storage, ranking, weights and tables."""

import csv
import dataclasses

import pytest

from tfbert.evaluation.entities import F1
from tfbert.hyperparameters.trials import (
    FAILED,
    FINISHED,
    RUNNING,
    STOPPED,
    Table,
    Trial,
    best_execution,
    ranked,
    read_trial,
    read_trials,
    remove_weights,
    trial_dir,
    write_csv,
    write_trial,
)

RATE, POOLING = "train.learning_rate", "head.pooling"


def test_a_trial_is_read_as_it_was_written(tmp_path):
    trial = Trial(id="7", values={RATE: 2e-4, POOLING: None}, histories=[[0.5, 0.75]], halvings=1, notes=["odd"])
    write_trial(tmp_path, trial)
    assert read_trial(tmp_path, "7") == trial and trial.state == RUNNING
    assert read_trial(tmp_path, "8") is None
    write_trial(tmp_path, dataclasses.replace(trial, id="3"))
    assert [stored.id for stored in read_trials(tmp_path)] == ["3", "7"]


def test_the_score_is_the_mean_over_executions():
    trial = Trial(id="0", values={})
    trial.finish([{"f1": 0.5, "loss": 2.0}, {"f1": 0.75, "loss": 1.0}], "f1", was_stopped=False)
    assert (trial.score, trial.metrics, trial.state) == (0.625, {"f1": 0.625, "loss": 1.5}, FINISHED)
    trial.finish([{"f1": 0.5}], "f1", was_stopped=True)
    assert trial.state == STOPPED


@pytest.mark.parametrize(("higher_is_better", "expected"), [(True, 1), (False, 2)])
def test_the_best_execution_is_that_whose_kept_weights_score_best(higher_is_better, expected):
    # Kept weights may be an average of epochs, or those before training.
    trial = Trial(id="0", values={}, histories=[[0.5, 0.95], [0.3, 0.6], [0.1, 0.2]])
    trial.finish([{"f1": 0.7}, {"f1": 0.9}, {"f1": 0.65}], "f1", was_stopped=False)
    assert best_execution(trial, higher_is_better) == expected


def test_the_best_executions_of_the_best_trials_keep_their_weights(tmp_path):
    trials = [
        Trial(id=f"{i}", values={"a": i}, state=FINISHED, score=score, scores=[score - 0.1, score])
        for i, score in enumerate([0.5, 0.9, 0.7])
    ]
    for trial in trials:
        for execution in ("0", "1"):
            folder = trial_dir(tmp_path, trial.id) / execution
            folder.mkdir(parents=True)
            for name in ("best", "checkpoint"):
                (folder / f"{name}.safetensors").write_bytes(b"weights")
    remove_weights(tmp_path, trials, 2, True)
    remaining = {path.relative_to(tmp_path / "trials").as_posix() for path in tmp_path.rglob("*.safetensors")}
    assert remaining == {f"{trial}/1/{name}.safetensors" for trial in (1, 2) for name in ("best", "checkpoint")}


def test_a_table_has_a_row_for_each_trial_and_a_column_for_each_metric(tmp_path):
    trials = [
        Trial(id="0", values={RATE: 2e-4}, state=FINISHED, score=0.5, metrics={"f1": 0.5}, seconds=1.25),
        Trial(id="1", values={RATE: 1e-3, POOLING: "cls"}, state=FAILED, notes=["diverged", "twice"]),
        Trial(id="2", values={RATE: 3e-4}, metrics={"loss": 1.5}),
    ]
    write_csv(tmp_path, trials, [RATE, POOLING])
    with open(tmp_path / "trials.csv", newline="", encoding="utf-8") as stream:
        names, *rows = csv.reader(stream)
    assert names == ["trial", "state", "score", RATE, POOLING, "validation_f1", "validation_loss", "seconds", "notes"]
    assert rows == [
        ["0", "finished", "0.5", "0.0002", "", "0.5", "", "1.2", ""],
        ["1", "failed", "", "0.001", "cls", "", "", "0.0", "diverged; twice"],
        ["2", "running", "", "0.0003", "", "", "1.5", "0.0", ""],
    ]


def test_the_lines_of_the_terminals_table_are_aligned():
    table = Table([RATE, "encoder.a_name_that_is_longer_than_any_column"], F1)
    trial = Trial(id="0", values={RATE: 2e-4}, state=STOPPED, score=0.123456, seconds=61)
    head, row = table.header(), table.row(trial, 0.5, 120)
    assert head.split() == ["trial", "F1", "best", "learning_rate", "a_name_that_is_longer_th", "took", "left"]
    assert row.split() == [
        "0",
        "12.3",
        "%",
        "50.0",
        "%",
        "2e-4",
        "–",
        "1",
        "min",
        "01",
        "s",
        "2",
        "min",
        "00",
        "s",
        "stopped",
        "early",
    ]
    assert row.removesuffix("  stopped early").index("2e-4") + 4 == head.index("learning_rate") + len("learning_rate")
    failed = table.row(Trial(id="1", values={}, state=FAILED), None, None)
    assert failed.split() == ["1", "failed", "–", "–", "–", "0.0", "s", "–"]


def test_ranking():
    trials = [Trial(id=f"{i}", values={"a": i % 3}, score=score) for i, score in enumerate([0.2, None, 0.5, 0.5, 0.1])]
    assert [trial.id for trial in ranked(trials, True)] == ["2", "3", "4"]
    assert [trial.id for trial in ranked(trials, False)] == ["4", "0", "2"]


def test_a_running_trial_keeps_its_files(tmp_path):
    trial = Trial(id="0", values={})
    folder = tmp_path / "trials" / "0" / "0"
    folder.mkdir(parents=True)
    files = [folder / f"{name}.safetensors" for name in ("checkpoint", "best", "evaluated-0", "evaluated-30")]
    for file in files:
        file.write_bytes(b"state")
    remove_weights(tmp_path, [trial], 1, True)
    assert all(file.exists() for file in files)
    remove_weights(tmp_path, [dataclasses.replace(trial, state=FAILED)], 1, True)
    assert not any(file.exists() for file in files)
