"""Distributed training gives the losses and weights of a single process, even after kills."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file
from support import small

from tfbert.text.batches import plan_training
from tfbert.training.distribution import ALONE, Replicas, join, translated_worker_errors

# Two processes add the terms of sums in another order than a single one.
TOLERANCE = 1e-5
OPTIONS = {
    "encoder.sequence_length": 32,
    "encoder.precision": "float32",
    "encoder.dropout": 0.0,
    "head.dropout": 0.0,
    "train.batch_size": 8,
    "train.epochs": 2,
    "train.learning_rate": 2e-3,
    "train.checkpoint_seconds": 0,
    "train.class_weights": "balanced",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Train with a single process, and with two workers of which first one is killed, then the other."""
    folder = tmp_path_factory.mktemp("distribution")
    # The last batch of an epoch has a single example, too few for two workers.
    data_dir = small.write_data(folder / "data", train=25)
    tools = small.tools()

    def step(name, **options):
        arguments = ["--data", data_dir, "--encoder", "tiny", "--out", folder / name, "--no-export"]
        return tools.step("train", *arguments, *small.assignments(OPTIONS), cwd=folder, **options)

    kills = [(None, ["update", 2, "before"]), (["checkpoint.safetensors", 2, "after"], None), (None, None)]
    clusters = [small.two_workers() for _ in kills]
    chains = [
        [step("shared", kill=kill[index], env=cluster[index]) for kill, cluster in zip(kills, clusters, strict=True)]
        for index in (0, 1)
    ]
    results = {"alone": tools.run([step("alone")])[0]}
    results["shared"] = tools.run(*chains)
    return folder, results


def weights(folder):
    return {name: a for name, a in load_file(folder / "best.safetensors").items() if "seed_generator" not in name}


def report(folder):
    return json.loads((folder / "report.json").read_text())


def test_a_worker_or_the_chief_is_killed_and_training_resumes(runs):
    _, results = runs
    chief, worker = results["shared"]
    assert [result.code for result in chief] == [2, -9, 0], chief
    assert [result.code for result in worker] == [-9, 2, 0], worker
    for survivor in (chief[0], worker[1]):
        assert "another worker of TF_CONFIG was lost" in survivor.err.splitlines()[-1]
        assert "Traceback" not in survivor.err


def test_two_workers_give_the_losses_and_weights_of_one(runs):
    folder, _ = runs
    single, shared = report(folder / "alone"), report(folder / "shared")
    assert single["distribution"] == {"kind": "none", "replicas": 1, "workers": 1}
    assert shared["distribution"] == {"kind": "multi_worker", "replicas": 2, "workers": 2}
    for a, b in zip(single["history"], shared["history"], strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=TOLERANCE)
        assert b["validation"]["loss"] == pytest.approx(a["validation"]["loss"], rel=TOLERANCE)
    single_weights, shared_weights = weights(folder / "alone"), weights(folder / "shared")
    assert single_weights.keys() == shared_weights.keys()
    for name, values in single_weights.items():
        np.testing.assert_allclose(shared_weights[name], values, atol=TOLERANCE, err_msg=name)


def test_only_the_chief_prints(runs):
    _, results = runs
    chief, worker = results["shared"]
    assert "test accuracy" in chief[-1].out
    assert "".join(result.out for result in worker) == ""


MIRRORED = """
import json, sys
from pathlib import Path
import keras, numpy as np, tensorflow as tf
sys.path.insert(0, sys.argv[1])
from support import small
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfbert.training import run
from tfbert.training.checkpoint import Checkpoints
from tfbert.training.fine_tuning import task_trainer
from tfbert.models.predictor import Predictor
from tfbert.training.problem import prepare
results = []
for distribution, steps in (("none", 1), ("mirrored", 2)):
    values = json.loads(sys.argv[3]) | {"train.distribution": distribution}
    values |= {"train.accumulation_steps": steps, "train.batch_size": 8 // steps}
    problem = prepare(small.config(sys.argv[2], **values))
    model, evaluation_model = run.build(problem, problem.config)
    predictor = Predictor(problem.task, evaluation_model, problem.tokenizer, problem.config)
    trainer = task_trainer(problem, problem.config, model, predictor, Checkpoints(Path(), "fingerprint", 0))
    (objective,), replicas = trainer.objectives, problem.replicas
    plan = [np.arange(8), np.arange(8, 15), np.arange(15, 16)]
    losses = []
    for indices in plan:
        group = [indices] if steps == 1 else [half for half in (indices[:4], indices[4:]) if len(half)]
        planned = [(examples,) for examples in group]
        group = objective.group(planned, replicas.stream(planned, objective.batches), replicas)
        losses.append(trainer.updater.update({"task": group})["task"]["loss"] / group.counts["loss"])
    weights = [v.numpy() for v in model.trainable_variables]
    expected = expected if results else weights
    difference = max(float(np.abs(a - b).max()) for a, b in zip(weights, expected, strict=True))
    results.append([problem.replicas.to_dict(), losses, difference])
print(json.dumps(results))
"""


def test_mirrored_devices_give_the_losses_and_weights_of_one(tmp_path):
    data_dir = small.write_data(tmp_path / "data")
    command = [sys.executable, "-c", MIRRORED, small.ROOT / "tests", data_dir, json.dumps(OPTIONS)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    single, mirrored = json.loads(result.stdout.splitlines()[-1])
    assert (single[0]["kind"], single[0]["replicas"]) == ("none", 1)
    assert (mirrored[0]["kind"], mirrored[0]["replicas"]) == ("mirrored", 2)
    np.testing.assert_allclose(mirrored[1], single[1], rtol=TOLERANCE)
    assert mirrored[2] < TOLERANCE


class TwoByTwo:
    """A fake strategy: two processes with two replicas each."""

    num_replicas_in_sync = 4


def test_the_shards_of_all_replicas_are_the_batch():
    plan = [*plan_training(np.arange(5, 27), 8, 0, 0), np.array([3]), np.array([7, 9, 8])]
    streams = []
    for worker in range(2):
        replicas = Replicas("multi_worker", TwoByTwo(), worker, 2)
        streams.append(list(replicas.stream(((indices, step) for step, indices in enumerate(plan)), iter)))
    assert len(streams[0]) == len(streams[1]) == len(plan)
    for step, indices in enumerate(plan):
        shards = streams[0][step] + streams[1][step]
        assert len(shards) == 4 and {index for (_, index), _ in shards} == {step}
        counted = [shard for (shard, _), factor in shards if factor == 1]
        assert sorted(np.concatenate(counted)) == sorted(indices)
        assert max(map(len, counted)) - min(map(len, counted)) <= 1
        for (shard, _), factor in shards:
            assert len(shard) > 0 and (factor == 1 or len(indices) < 4)
        assert [len(shard) for shard, _ in replicas.counted([streams[1][step]])] == [
            len(shard) for (shard, _), factor in streams[1][step] if factor
        ]
    assert list(ALONE.stream(((indices,) for indices in plan), iter)) == [(indices,) for indices in plan]


@pytest.mark.parametrize("worker", [0, 1])
def test_dropout_differs_between_processes_and_repeats(make_trainer, monkeypatch, worker):
    trainer = make_trainer(train__ema_momentum=0.5)
    monkeypatch.setattr(Replicas, "broadcast", lambda self, arrays: arrays)
    before = trainer.updater.arrays()
    trainer.updater.replicas = Replicas("multi_worker", TwoByTwo(), worker, 2)
    trainer.updater.broadcast()
    after = trainer.updater.arrays()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    seeds = {name for name in before if "seed_generator_state" in name}
    assert seeds
    assert changed == (seeds if worker else set())


def test_fewer_examples_than_replicas_are_refused():
    with pytest.raises(ValueError, match="train.batch_size=3: expected 4 or more"):
        Replicas("multi_worker", TwoByTwo(), 0, 2).check_batch_size(3)
    ALONE.check_batch_size(1)


def test_other_data_than_the_chiefs_is_refused(monkeypatch):
    monkeypatch.setattr(Replicas, "broadcast", lambda self, arrays: received or arrays)
    received = {}
    Replicas().check_same("mine")
    received = {"fingerprint": np.float64(7)}
    with pytest.raises(ValueError, match="worker 1 has other data or another config than the chief"):
        Replicas("multi_worker", TwoByTwo(), 1, 2).check_same("mine")


CLUSTER = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "TF_CONFIG={: JSONDecodeError"),
        ('{"cluster": {}}', "KeyError: 'task'; expected"),
        (json.dumps(CLUSTER | {"task": {"type": "worker", "index": 2}}), "no worker 2 in the cluster; expected"),
        (json.dumps(CLUSTER | {"cluster": {"ps": ["a:1"], **CLUSTER["cluster"]}}), "training has no task of type ps"),
    ],
)
@pytest.mark.parametrize("kind", ["auto", "multi_worker"])
def test_an_invalid_tf_config_is_reported(kind, text, message, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=message):
        join(kind)


def test_join_without_a_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert join("auto") is join("none") is ALONE
    with pytest.raises(ValueError, match="train.distribution=multi_worker: expected TF_CONFIG in the environment"):
        join("multi_worker")
    with pytest.raises(ValueError, match="train.distribution=mirrored: expected two devices or more"):
        join("mirrored")
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}})
    )
    assert join("auto") is ALONE


def test_a_lost_connection_is_an_error_with_advice():
    with (
        pytest.raises(ConnectionError, match="was lost .*aborted by: reset.*start all workers again"),
        translated_worker_errors(),
    ):
        raise tf.errors.UnavailableError(
            None, None, "Graph execution error:\nCollective ops is aborted by: reset\nmore"
        )
    with pytest.raises(tf.errors.InvalidArgumentError), translated_worker_errors():
        raise tf.errors.InvalidArgumentError(None, None, "shapes")
