"""A training that is killed or stopped at any moment and resumed is bit-identical to an uninterrupted one."""

import fcntl
import json
import os
import signal

import pytest
from support import small

from tfbert import interrupts
from tfbert.interrupts import Stopped

OPTIONS = {
    "encoder.sequence_length": 32,
    "encoder.precision": "float32",
    "train.batch_size": 8,
    "train.epochs": 2,
    "train.learning_rate": 2e-3,
    "train.checkpoint_seconds": 0,
    # Small enough that batches of eight examples are split into micro-batches.
    "train.part_tokens": 40,
    "train.ema_momentum": 0.5,
    # Every epoch reads another copy of the texts.
    "train.noise": 0.3,
}
CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"
# The evaluation before training writes the first checkpoint. 24 examples are three updates per epoch: two checkpoints
# within the epoch, the best weights if improved, and a checkpoint at its end. The last one is written after averaging.
KILLS = {
    "inside epoch 1, the second checkpoint written but not in place": (CHECKPOINT, 3, "before"),
    "before training, its weights in place": (BEST, 1, "after"),
    "inside epoch 2": (CHECKPOINT, 5, "after"),
    "all updates done, before averaging": (CHECKPOINT, 7, "after"),
    "training ended, no report": (CHECKPOINT, 8, "after"),
}


MOMENTS = {
    "inside an epoch": ("update", 2, "update 2 of epoch 1"),
    "at the last update of an epoch": ("update", 3, "update 3 of epoch 1"),
    "during the validation before training": ("validation", 1, "update 0 of epoch 1, during validation"),
    "during the validation of an epoch": ("validation", 2, "update 3 of epoch 1, during validation"),
    "at the last update of all": ("update", 6, "update 3 of epoch 2"),
    "during the validation of the last epoch": ("validation", 3, "update 3 of epoch 2, during validation"),
    "during the validation of an average": ("validation", 4, "update 3 of epoch 2, during validation of averages"),
}
# No checkpoints are saved periodically, so the one on disk was saved because of the signal.
STOP_OPTIONS = {"train__checkpoint_seconds": 1e9, "train__ema_momentum": 0.5}


def arguments(data_dir, out, *options):
    return ["--data", data_dir, "--encoder", "tiny", "--out", out, "--no-export", *small.assignments(OPTIONS), *options]


@pytest.fixture(scope="module")
def runs(data_dir, tmp_path_factory):
    """Run all trainings: one without interruption, and one for each of `KILLS`."""
    folder = tmp_path_factory.mktemp("resume")
    tools = small.tools()

    def step(name, *options, kill=None):
        return tools.step("train", *arguments(data_dir, folder / name, *options), cwd=folder, kill=kill)

    chains = [[step("whole")]]
    chains += [[step(f"{i}", kill=kill), step(f"{i}")] for i, kill in enumerate(KILLS.values())]
    return folder, dict(zip(["whole", *KILLS], tools.run(*chains), strict=True))


def scores(path):
    report = json.loads((path / "report.json").read_text())
    return [report[name] for name in ("validation", "test", "best_epoch")] + [
        [entry["loss"], entry["validation"]] for entry in report["history"]
    ]


def test_the_uninterrupted_run(runs):
    folder, results = runs
    assert results["whole"][0].code == 0, results["whole"][0].err
    assert not (folder / "whole" / CHECKPOINT).exists()


@pytest.mark.slow
def test_a_run_with_copies_and_weights_is_bit_identical_after_a_kill(data_dir, tmp_path):
    (tmp_path / "terms.txt").write_text("groups: a | b\nthe | my\n")
    tools, terms = small.tools(), str(tmp_path / "terms.txt")
    options = small.assignments({"train.counterfactuals": terms, "train.group_weights": terms})

    def step(name, kill=None):
        return tools.step("train", *arguments(data_dir, tmp_path / name, *options), cwd=tmp_path, kill=kill)

    (whole,), (killed, continued) = tools.run([step("whole")], [step("a", (CHECKPOINT, 5, "after")), step("a")])
    assert (whole.code, killed.code, continued.code) == (0, -9, 0), whole.err + continued.err
    assert "copies of 24 texts" in whole.err and "train.group_weights" in whole.err
    assert (tmp_path / "a" / BEST).read_bytes() == (tmp_path / "whole" / BEST).read_bytes()
    assert scores(tmp_path / "a") == scores(tmp_path / "whole")


@pytest.mark.parametrize("moment", KILLS)
def test_killed_and_continued_is_bit_identical(runs, moment):
    folder, results = runs
    killed, continued = results[moment]
    assert killed.code == -9, killed.err
    assert continued.code == 0, continued.err
    path = folder / str(list(KILLS).index(moment))
    assert (path / BEST).read_bytes() == (folder / "whole" / BEST).read_bytes()
    assert scores(path) == scores(folder / "whole")


def test_no_temporary_file_remains(runs):
    folder, _ = runs
    assert [str(path) for path in folder.rglob("*.part")] == []


@pytest.fixture
def signal_handlers():
    """Return the signal handlers, and restore them after the test."""
    handlers = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    yield handlers
    for number, handler in handlers.items():
        signal.signal(number, handler)


def send_at(trainer, event, count, number=signal.SIGTERM):
    """Send a signal to this process before the n-th update or validation of a trainer."""
    owner, name = (trainer.updater, "update") if event == "update" else (trainer.evaluator, "measure")
    function, calls = getattr(owner, name), []

    def sending(*args):
        calls.append(event)
        if len(calls) == count:
            os.kill(os.getpid(), number)
        return function(*args)

    setattr(owner, name, sending)


@pytest.fixture(scope="module")
def uninterrupted(make_trainer):
    """Return the best weights and the history of an uninterrupted training."""
    trainer = make_trainer(**STOP_OPTIONS)
    history = trainer.train().history
    return (trainer.checkpoints.run_dir / BEST).read_bytes(), [(point.loss, point.scores) for point in history]


@pytest.mark.parametrize("moment", MOMENTS)
def test_stopped_and_continued_is_bit_identical(make_trainer, uninterrupted, signal_handlers, moment):
    event, count, point = MOMENTS[moment]
    trainer = make_trainer(**STOP_OPTIONS)
    send_at(trainer, event, count)
    with pytest.raises(Stopped) as stopped:
        trainer.train()
    assert stopped.value.message == f"stopped after {point}; saved {trainer.checkpoints.run_dir / CHECKPOINT}"
    assert (stopped.value.number, stopped.value.exit_code) == (signal.SIGTERM, 143)
    assert {number: signal.getsignal(number) for number in interrupts.SIGNALS} == signal_handlers
    resumed = make_trainer(run_dir=trainer.checkpoints.run_dir, **STOP_OPTIONS)
    history = resumed.train().history
    epochs = [(point.loss, point.scores) for point in history]
    assert ((trainer.checkpoints.run_dir / BEST).read_bytes(), epochs) == uninterrupted


def test_a_second_ctrl_c_does_not_wait(make_trainer, signal_handlers):
    trainer = make_trainer(**STOP_OPTIONS)
    update = trainer.updater.update

    def twice(*args):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return update(*args)

    trainer.updater.update = twice
    with pytest.raises(KeyboardInterrupt) as stopped:
        trainer.train()
    assert not isinstance(stopped.value, Stopped)
    assert not (trainer.checkpoints.run_dir / CHECKPOINT).exists()


@pytest.fixture
def stopped(make_trainer, tmp_path):
    """Return a run directory with a checkpoint of a training."""
    trainer = make_trainer("eager", run_dir=tmp_path, examples=8, fingerprint="mine")
    trainer.checkpoints.save(trainer.updater.arrays(), trainer.progress.to_dict())
    return tmp_path


def test_checkpoint_of_another_run_is_refused(make_trainer, stopped):
    other = make_trainer("eager", run_dir=stopped, examples=8, fingerprint="other data or config")
    with pytest.raises(ValueError, match=r"checkpoint.safetensors: belongs to another run .*expected an empty --out"):
        other.train()


@pytest.mark.parametrize("size", [0, 5, 1000, -1])
def test_truncated_checkpoint_is_refused(make_trainer, stopped, size):
    path = stopped / CHECKPOINT
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"checkpoint.safetensors: not a tfbert checkpoint .*remove it to start over"):
        make_trainer("eager", run_dir=stopped, examples=8, fingerprint="mine").train()


def test_the_fingerprint_changes_with_config_and_data(base_problem, tmp_path):
    from tfbert.config import override
    from tfbert.training.problem import prepare

    config = base_problem.config
    assert base_problem.fingerprint(config) == base_problem.fingerprint(override(config, {}))
    assert base_problem.fingerprint(config) != base_problem.fingerprint(override(config, {"train.weight_decay": 0.02}))
    path = small.write_data(tmp_path / "data")
    config = override(config, {"data.path": str(path)})
    fingerprint = prepare(config).fingerprint(config)
    assert prepare(config).fingerprint(config) == fingerprint
    with open(path / "test.csv", "a") as stream:
        stream.write("one more,card\n")
    assert prepare(config).fingerprint(config) != fingerprint


def test_second_process_in_a_run_directory_is_refused(base_problem, tmp_path):
    from tfbert.training import run

    with open(tmp_path / ".lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another process is training in it; expected another --out"):
            run.train(base_problem, tmp_path)
