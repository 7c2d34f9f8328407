"""Tools that are stopped or killed and then restarted with the same command."""

import signal

import pytest
from support import small

OPTIONS = small.assignments(
    {
        "encoder.sequence_length": 32,
        "encoder.precision": "float32",
        "train.batch_size": 8,
        "train.epochs": 2,
        "train.learning_rate": 2e-3,
    }
)
# Sent before the fourth update, the first of epoch 2. This update is completed before the process stops.
SIGNALS = {"ctrl-c": (signal.SIGINT, 130), "sigterm": (signal.SIGTERM, 143)}
AFTER_TRAINING = ("report.json", 1, "after")


@pytest.fixture(scope="module")
def stopped_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopping")
    small.write_data(folder / "data")
    tools = small.tools()
    (folder / "saved_models" / "left" / ".writing-abc").mkdir(parents=True)

    def train(*options, kill=None):
        return tools.step("train", "--data", "data", "--encoder", "tiny", *OPTIONS, *options, cwd=folder, kill=kill)

    chains = {"whole": [train("--out", "whole", "--no-export")]}
    for name, (number, _) in SIGNALS.items():
        out = ["--out", name, "--no-export"]
        chains[name] = [train(*out, kill=("update", 4, "before", number)), train(*out)]
    left_options = ["--out", "left", "--name", "left"]
    chains["with --out"] = [train(*left_options, kill=AFTER_TRAINING), train(*left_options), train(*left_options)]
    found_options = ["--name", "found", "--seeds", 1]
    chains["without --out"] = [train(*found_options, kill=AFTER_TRAINING), train(*found_options)]
    return folder, dict(zip(chains, tools.run(*chains.values()), strict=True))


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_saves_a_checkpoint_that_is_resumed(stopped_runs, name):
    folder, results = stopped_runs
    stopped, continued = results[name]
    assert stopped.code == SIGNALS[name][1], stopped.err
    message = stopped.err.splitlines()[-1]
    assert message.startswith(
        f"train: stopped after update 1 of epoch 2; saved {name}/checkpoint.safetensors; continue with: python "
    )
    assert message.endswith(f"--out {name} --no-export") and "Traceback" not in stopped.err
    assert continued.code == 0, continued.err
    # Epoch 1, which ended before the signal, is not repeated.
    assert f"resuming after update 1 of epoch 2, from {name}\n" in continued.err
    assert "epoch 2  loss" in continued.err and "epoch 1  loss" not in continued.err
    best = [(folder / run / "best.safetensors").read_bytes() for run in (name, "whole")]
    assert best[0] == best[1]


def test_a_finished_run_killed_before_its_export_is_exported(stopped_runs):
    folder, results = stopped_runs
    killed, exported, refused = results["with --out"]
    assert killed.code == -9
    assert exported.code == 0, exported.err
    assert "left: training is finished; only the export is pending" in exported.err
    assert "epoch 1  loss" not in exported.err
    assert "saved model saved_models/left/1  (verified" in exported.out and exported.out.count("    -> {") == 2
    # Files of the killed export were removed.
    assert [path.name for path in (folder / "saved_models" / "left").iterdir()] == ["1"]
    assert (refused.code, refused.err.splitlines()[-1]) == (
        2,
        "train: left: holds a finished run; expected a new --out directory",
    )


def test_a_run_without_out_is_resumed(stopped_runs):
    folder, results = stopped_runs
    killed, exported = results["without --out"]
    assert killed.code == -9
    assert exported.code == 0, exported.err
    assert len(list((folder / "runs" / "classification").iterdir())) == 1
    assert [path.name for path in (folder / "saved_models" / "found").iterdir()] == ["1"]
