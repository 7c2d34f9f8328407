"""Pretraining in two processes gives the same losses, counts and encoder as in one."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from support import small

# The sums of two processes are added in another order.
TOLERANCE = 1e-5
OPTIONS = {
    "encoder.precision": "float32",
    "encoder.dropout": 0.0,
    "examples.sequence_length": 32,
    "train.batch_size": 50,
    "train.accumulation_steps": 2,
    "train.epochs": 1,
    "train.evaluations": 2,
    "train.learning_rate": 3e-3,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    tools = small.tools()

    def step(*args, env=()):
        return tools.step("pretrain", *args, "--encoder", "tiny", *small.assignments(OPTIONS), cwd=folder, env=env)

    first, second = small.two_workers()
    results = {"alone": tools.run([step("prepare", "--out", "rows"), step("--prepared", "rows", "--out", "alone")])[0]}
    chains = [[step("--prepared", "rows", "--out", "both", env=env)] for env in (first, second)]
    results["both"] = [result for (result,) in tools.run(*chains)]
    return folder, results


def test_two_workers_give_the_losses_counts_and_encoder_of_one(runs):
    folder, results = runs
    assert [result.code for result in (*results["alone"], *results["both"])] == [0] * 4, results
    single, shared = (json.loads((folder / name / "report.json").read_text()) for name in ("alone", "both"))
    assert shared["distribution"] == {"kind": "multi_worker", "replicas": 2, "workers": 2}
    assert len(single["history"]) == len(shared["history"]) > 2
    for a, b in zip(single["history"], shared["history"], strict=True):
        assert b["num_tokens"] == a["num_tokens"]
        assert b["held_out"] == pytest.approx(a["held_out"], rel=TOLERANCE)
    assert shared["curve"] == [pytest.approx(point, rel=TOLERANCE) for point in single["curve"]]
    single_weights, shared_weights = (load_file(folder / name / "best.safetensors") for name in ("alone", "both"))
    for name, values in single_weights.items():
        np.testing.assert_allclose(shared_weights[name], values, atol=TOLERANCE, err_msg=name)


def test_the_other_worker_names_the_one_with_the_report(runs):
    chief, worker = runs[1]["both"]
    assert "held-out masked words: loss" in chief.out
    assert worker.out == "done; the chief has the report\n"
