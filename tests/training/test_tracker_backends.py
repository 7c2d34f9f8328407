"""Weights & Biases and MLflow themselves: local runs, resuming, children. Skipped where the packages are missing."""

import json
import os
import struct
import subprocess
import sys

import pytest
from support import small

from tfbert.training.tracker_backends import TRACKER, MlflowRun, WandbRun

PARAMS = {"train.epochs": 2, "train.monitor": None, "encoder.name": "tiny"}
ENVIRONMENT = ("WANDB_MODE", "WANDB_PROJECT", "WANDB_DIR", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")


@pytest.fixture(autouse=True)
def _default_environment(monkeypatch):
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


def require(package):
    # Another version of its dependencies may be installed, with which it cannot be imported.
    return pytest.importorskip(package, reason=f"{package} is not installed", exc_type=ImportError)


def wandb_records(path):
    """Yield the records of a file that W&B has written: a log of LevelDB whose records are protocol buffers.

    Source: the format of LevelDB's log, with a header of seven bytes before the first block.
    """
    from wandb.proto import wandb_internal_pb2

    data, position, record = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        if kind == 0:
            return
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield wandb_internal_pb2.Record.FromString(record)
            record = b""


def history_of(path):
    """Return the metrics of a W&B file by step, and the run."""
    steps, run = {}, None
    for record in wandb_records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
        elif kind == "history":
            items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            values = {name: json.loads(value) for name, value in items.items() if not name.startswith("_")}
            steps[record.history.step.num] = values
    return steps, run


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_an_offline_run_of_wandb_can_be_read_back(tmp_path):
    require("wandb")
    (tmp_path / TRACKER).write_text('{"run_id": "outer"}')
    run_dir = tmp_path / "trials" / "0"
    run_dir.mkdir(parents=True)
    first = WandbRun(PARAMS, run_dir, [tmp_path])
    first.log([(0, {"epoch": 0.0}), (1, {"train/loss": 0.5})])
    first.close("failed")
    resumed = WandbRun(PARAMS, run_dir, [tmp_path])
    assert resumed.next_step == 0
    resumed.log([(0, {"epoch": 0.0}), (1, {"train/loss": 0.5}), (2, {"train/loss": 0.25, "epoch": 1.0})])
    resumed.finish({"final/test_f1": 0.75}, [tmp_path / TRACKER], 2)
    resumed.close("finished")
    paths = sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    (_, first_run), (steps, run) = map(history_of, paths)
    assert steps == {0: {"epoch": 0.0}, 1: {"train/loss": 0.5}, 2: {"train/loss": 0.25, "epoch": 1.0}}
    assert first_run.run_id == run.run_id == json.loads((run_dir / TRACKER).read_text())["run_id"]
    assert (run.display_name, run.run_group) == ("trials/0", tmp_path.name)
    config = {item.key or item.nested_key[0]: item.value_json for item in run.config.update}
    assert config["train.epochs"] == "2"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_local_run_of_mlflow_can_be_read_back(tmp_path):
    require("mlflow")
    from mlflow import MlflowClient

    run_dir = tmp_path / "trials" / "0"
    run_dir.mkdir(parents=True)
    MlflowRun(PARAMS, tmp_path, []).close("finished")
    first = MlflowRun(PARAMS, run_dir, [tmp_path])
    first.log([(0, {"epoch": 0.0}), (1, {"train/loss": 0.5, "epoch": 1.0})])
    resumed = MlflowRun(PARAMS, run_dir, [tmp_path])
    assert resumed.next_step == 2
    resumed.log([(step, {"train/loss": 1.0 / step}) for step in range(2, 1500)])
    resumed.finish({"final/test_f1": 0.75}, [run_dir / TRACKER], 1499)
    resumed.close("finished")
    client = MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    outer, inner = (json.loads((path / TRACKER).read_text())["run_id"] for path in (tmp_path, run_dir))
    run = client.get_run(inner)
    assert run.data.params == {"train.epochs": "2", "train.monitor": "null", "encoder.name": "tiny"}
    assert run.data.tags["mlflow.parentRunId"] == outer and run.info.status == "FINISHED"
    assert run.data.metrics["final/test_f1"] == 0.75
    assert [metric.step for metric in client.get_metric_history(inner, "train/loss")] == list(range(1, 1500))
    assert [file.path for file in client.list_artifacts(inner)] == [TRACKER]


@pytest.mark.slow
@pytest.mark.parametrize("track", ["wandb", "mlflow"])
def test_a_killed_and_resumed_training_is_one_run_without_gaps(track, data_dir, tmp_path):
    require(track)
    values = {"encoder.sequence_length": 32, "train.batch_size": 8, "train.epochs": 2, "train.checkpoint_seconds": 0}
    tools = small.tools()

    def steps(name, kills, **more):
        options = small.assignments({**values, "train.track": name})
        arguments = ["--data", data_dir, "--encoder", "tiny", "--out", tmp_path / name, "--no-export", *options]
        return [tools.step("train", *arguments, cwd=tmp_path, kill=kill) for kill in [*kills, None]]

    # Before the fifth update, when the evaluation of the first epoch has been logged.
    untracked, tracked = tools.run(steps("none", []), steps(track, [["update", 5, "before"]]))
    assert [result.code for result in [*untracked, *tracked]] == [0, -9, 0], tracked[-1].err
    weights = [(tmp_path / name / "best.safetensors").read_bytes() for name in ("none", track)]
    assert weights[0] == weights[1]
    if track == "wandb":
        paths = sorted((tmp_path / track / "wandb").glob("offline-run-*/*.wandb"))
        assert list(history_of(paths[-1])[0]) == list(range(7))
        assert len({history_of(path)[1].run_id for path in paths}) == 1
        return
    code = (
        "import json, mlflow; client = mlflow.MlflowClient(tracking_uri=%r); run, = client.search_runs(%r); "
        "print(json.dumps([metric.step for metric in client.get_metric_history(run.info.run_id, 'train/loss')]))"
    )
    uri = (tmp_path / track / "mlruns").as_uri()
    experiment = next(path.name for path in (tmp_path / track / "mlruns").glob("*/") if len(path.name) > 5)
    environment = os.environ | {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    read = subprocess.run([sys.executable, "-c", code % (uri, [experiment])], capture_output=True, env=environment)
    assert json.loads(read.stdout) == list(range(1, 7)), read.stderr
