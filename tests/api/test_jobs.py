"""Fine-tuning, pretraining and search from Python: config, directories, the repeated command, and results."""

import dataclasses
import itertools
import json
import shlex
import shutil
import types

import pytest
from support import small

from tfbert.api import jobs
from tfbert.files import REPORT, write_json
from tfbert.hyperparameters.plan import read_plan
from tfbert.training.distribution import Replicas

SMALL = {"encoder": "tiny", "sequence_length": 32, "batch_size": 8, "learning_rate": 2e-3, "precision": "float32"}
WORKER = Replicas("multi_worker", None, 1, 2)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_fine_tuning_on_data_in_memory(folder, caplog):
    splits = {"train": small.rows(48, 1), "validation": small.rows(12, 2), "test": small.rows(12, 3)}
    run = jobs.fine_tune(splits, epochs=2, seed=1, **SMALL)
    assert run.path.parent.as_posix() == "runs/classification"
    assert run.config.train.seed == 1 and run.config.train.epochs == 2
    [data_dir] = (folder / "runs" / "data").glob("*/classification")
    assert run.config.data.path == data_dir.relative_to(folder).as_posix()
    assert run.report["command"] == (
        "tfbert train --task classification --set train.epochs=2 --set encoder.sequence_length=32 --set "
        "train.batch_size=8 --set train.learning_rate=0.002 --set encoder.precision=float32 --encoder tiny --seed 1 "
        f"--data {run.config.data.path}"
    )
    # Later, the data of the run are where they were.
    assert run.evaluate(data_dir)["metrics"] == run.report["test"]["metrics"]
    with pytest.raises(ValueError, match=r"^test\.json\[12\]: label 'cards' is not one of the 3 labels of train"):
        jobs.fine_tune(splits | {"test": [*splits["test"], ("a", "cards")]}, **SMALL)


def test_an_unfinished_run_of_the_same_call_is_resumed(folder, monkeypatch):
    directories = []

    def train(problem, run_dir, *args):
        directories.append(run_dir)
        run_dir.mkdir(parents=True, exist_ok=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs.fine_tuning, "train", train)
    rows = small.rows(60, 1)
    for data, out in ((rows, None), (list(rows), None), (rows[1:], None), (rows, "x")):
        with pytest.raises(KeyboardInterrupt):
            jobs.fine_tune(data, out=out, **SMALL)
    assert directories[0] == directories[1] != directories[2]
    assert directories[3].as_posix() == "x" and (folder / "x" / "data").is_dir()


def test_the_arguments_of_fine_tuning(monkeypatch):
    calls = []
    monkeypatch.setattr(jobs, "fine_tune_config", lambda *args: calls.append(args))
    assert jobs.fine_tune("d.csv", "ner", seeds=3, adapt=True, out="o", encoder__dropout=0.2) is None
    assert jobs.fine_tune(None, "intent", adapt=["a", "b"]) is None
    (config, *first), (_, *second) = calls
    assert (config.task, config.data.path, config.encoder.dropout) == ("entities", "d.csv", 0.2)
    assert [str(value) for value in first[:3]] == ["o", "3", "[]"]
    assert first[3] == ("tfbert train --task entities --set encoder.dropout=0.2 --data d.csv --seeds 3 --adapt --out o")
    assert second == [None, 1, ["a", "b"], "tfbert train --task classification --adapt a b"]


def test_mistakes_are_refused_before_training():
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'; did you mean 'epochs'"):
        jobs.fine_tune(small.rows(5, 1), epoch=3)
    with pytest.raises(ValueError, match="^train.epochs=0: expected 1 or more"):
        jobs.fine_tune(small.rows(5, 1), epochs=0)
    with pytest.raises(ValueError, match="^seeds=0: expected 1 or more"):
        jobs.fine_tune(small.rows(5, 1), seeds=0)
    with pytest.raises(ValueError, match="^task 'clasification' is not one of"):
        jobs.fine_tune(small.rows(5, 1), "clasification")
    with pytest.raises(ValueError, match="^encoder=x: cannot be combined with from_scratch=True"):
        jobs.pretrain(encoder="x", from_scratch=True)


def test_a_worker_has_no_run(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class FakeProblem:
        replicas: types.SimpleNamespace
        explains: bool = False

    assisted = []
    monkeypatch.setattr(jobs, "prepare", lambda config: FakeProblem(WORKER))
    monkeypatch.setattr(jobs.fine_tuning, "assist", lambda *args: assisted.append(args))
    assert jobs.fine_tune(seeds=2) is None
    monkeypatch.setattr(jobs, "join", lambda distribution: WORKER)
    monkeypatch.setattr(jobs.pretraining, "assist", lambda config: assisted.append(config.train.epochs))
    assert jobs.pretrain("texts", epochs=4) is None
    assert assisted == [(FakeProblem(WORKER, explains=True), 2), 4]


def test_the_arguments_of_pretraining(monkeypatch):
    calls = []

    def pretrain(config, run_dir, command):
        calls.append((config, command))
        run_dir.mkdir(parents=True)
        write_json(run_dir / REPORT, {"corpus": {}})
        return {}

    monkeypatch.setattr(jobs.pretraining, "pretrain", pretrain)
    result = jobs.pretrain(["a.txt", "b"], seed=2, out="p", epochs=1, encoder="tiny")
    assert (result.path.as_posix(), result.encoder) == ("p", "p/encoder") and result.report["corpus"] == {}
    config, command = calls[0]
    assert (config.corpus.paths, config.encoder.name, config.train.seed) == (("a.txt", "b"), "tiny", 2)
    assert command == ("tfbert pretrain --set train.epochs=1 --encoder tiny --seed 2 --corpus a.txt b --out p")
    result = jobs.pretrain(from_scratch=True, num_layers=2)
    assert calls[1][0].encoder.name is None and calls[1][0].encoder.num_layers == 2
    assert calls[1][0].corpus.paths and result.path.parent.as_posix() == "runs/pretraining"
    assert calls[1][1] == "tfbert pretrain --set encoder.num_layers=2 --from-scratch"


def test_the_arguments_of_a_search(monkeypatch, folder):
    plans, (finished_dir, _) = [], small.finished_run()

    def search(plan, out_dir, command, *args):
        plans.append((plan, command, args))
        shutil.copytree(finished_dir, out_dir / "best")
        write_json(out_dir / REPORT, {"plan": {}})

    monkeypatch.setattr("tfbert.hyperparameters.run.search", search)
    space = {"train.epochs": [1, 2], "train.learning_rate": {"log_range": [1e-4, 1e-3]}}
    result = jobs.search(small.rows(60, 1), space=space, trials=2, confirm=0, algorithm="random", **SMALL)
    plan, command, args = plans[0]
    assert json.loads(json.dumps(plan.to_json()))["space"] == space
    assert (plan.algorithm, plan.trials, plan.confirmations, plan.executions) == ("random", 2, 0, 1)
    assert plan.config.encoder.name == "tiny" and args == (None, False, False)
    assert command.startswith("tfbert search --task classification --set ") and command.endswith(
        f"--data {plan.config.data.path} --algorithm random --trials 2 --executions 1 --confirm 0"
    )
    words = shlex.split(command)
    assignments = [value for option, value in itertools.pairwise(words) if option == "--set"]
    assert read_plan("classification", None, None, assignments, {}).space == plan.space
    assert result.best.path == result.path / "best" and result.path.parent.as_posix() == "runs/classification-search"
    with pytest.raises(ValueError, match="^search space: train.epochs"):
        jobs.search(small.rows(60, 1), space={"train.epochs": [0]})
