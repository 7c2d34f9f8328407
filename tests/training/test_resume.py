"""A training that is killed, at any moment, and started again ends in the same bits as one that is not."""

import fcntl
import json

import pytest
from support import small

OPTIONS = {
    "encoder.sequence_length": 32,
    "encoder.precision": "float32",
    "train.batch_size": 8,
    "train.epochs": 2,
    "train.learning_rate": 2e-3,
    "train.checkpoint_seconds": 0,
    # Batches of these eight are learned from in parts.
    "train.part_tokens": 40,
    "train.ema_momentum": 0.5,
}
CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"
# 24 examples are three updates an epoch: two checkpoints inside it, the best weights if they are, one at its end.
KILLS = {
    "inside epoch 1, the second checkpoint written but not in place": (CHECKPOINT, 2, "before"),
    "epoch 1 ended, its best weights in place": (BEST, 1, "after"),
    "inside epoch 2": (CHECKPOINT, 4, "after"),
    "training ended, no report": (CHECKPOINT, 6, "after"),
}


def arguments(data_dir, out, *more):
    return ["--data", data_dir, "--encoder", "tiny", "--out", out, "--no-export", *small.assignments(OPTIONS), *more]


@pytest.fixture(scope="module")
def runs(data_dir, tmp_path_factory):
    """Do all trainings at once: one in peace, and one killed for each of `KILLS`."""
    folder = tmp_path_factory.mktemp("resume")
    tools = small.tools()

    def step(name, *more, kill=None):
        return tools.step("train", *arguments(data_dir, folder / name, *more), cwd=folder, kill=kill)

    chains = [[step("whole")]]
    chains += [[step(f"{i}", kill=kill), step(f"{i}")] for i, kill in enumerate(KILLS.values())]
    return folder, dict(zip(["whole", *KILLS], tools.run(*chains), strict=True))


def scores(path):
    report = json.loads((path / "report.json").read_text())
    return [report[name] for name in ("validation", "test", "best_epoch")] + [
        [entry["loss"], entry["validation"]] for entry in report["history"]
    ]


def test_the_uninterrupted_run(runs):
    folder, done = runs
    assert done["whole"][0].code == 0, done["whole"][0].err
    assert not (folder / "whole" / CHECKPOINT).exists()


@pytest.mark.parametrize("moment", KILLS)
def test_killed_and_continued_is_bit_identical(runs, moment):
    folder, done = runs
    killed, continued = done[moment]
    assert killed.code == -9, killed.err
    assert continued.code == 0, continued.err
    path = folder / str(list(KILLS).index(moment))
    assert (path / BEST).read_bytes() == (folder / "whole" / BEST).read_bytes()
    assert scores(path) == scores(folder / "whole")


def test_nothing_half_written_stays(runs):
    folder, _ = runs
    assert [str(path) for path in folder.rglob("*.part")] == []


@pytest.fixture
def stopped(make_trainer, tmp_path):
    """Return a run directory in which a training stands after its first update."""
    trainer = make_trainer("eager", run_dir=tmp_path, examples=8, fingerprint="mine")
    trainer.checkpoints.save(trainer.updater.arrays(), trainer.progress.to_dict())
    return tmp_path


def test_checkpoint_of_another_run_is_refused(make_trainer, stopped):
    other = make_trainer("eager", run_dir=stopped, examples=8, fingerprint="other data or config")
    with pytest.raises(ValueError, match=r"checkpoint.safetensors: is of another run .*wanted an empty --out"):
        other.train()


@pytest.mark.parametrize("size", [0, 5, 1000, -1])
def test_truncated_checkpoint_is_refused(make_trainer, stopped, size):
    path = stopped / CHECKPOINT
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"checkpoint.safetensors: not a tfbert checkpoint .*remove it to start over"):
        make_trainer("eager", run_dir=stopped, examples=8, fingerprint="mine").train()


def test_identity_changes_with_config_and_data(base_problem, tmp_path):
    from tfbert.config import override
    from tfbert.training.problem import prepare

    config = base_problem.config
    assert base_problem.identity(config) == base_problem.identity(override(config, {}))
    assert base_problem.identity(config) != base_problem.identity(override(config, {"train.weight_decay": 0.02}))
    path = small.write_data(tmp_path / "data")
    config = override(config, {"data.path": str(path)})
    before = prepare(config).identity(config)
    assert prepare(config).identity(config) == before
    with open(path / "test.csv", "a") as stream:
        stream.write("one more,card\n")
    assert prepare(config).identity(config) != before


def test_second_process_in_a_run_directory_is_refused(base_problem, tmp_path):
    from tfbert.training import run

    with open(tmp_path / ".lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another process is training in it; expected another --out"):
            run.train(base_problem, tmp_path)
