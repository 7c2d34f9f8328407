"""Rows of the robustness table, from the output of the command."""

import json

import pytest

from benchmarks import robustness
from tfbert.files import read_json


@pytest.fixture
def measured(options, monkeypatch):
    """Return the table, with stand-ins for training and for the command, and the commands."""
    commands = []

    def output_of(command):
        commands.append(command)
        has_noise = "noise" in command[2]
        effects = [
            {"perturbation": "typos_5", "num_changed": 1, "difference": {"value": 9}},
            {"perturbation": "typos_10", "num_changed": 600, "difference": {"value": -0.05 if has_noise else -0.1}},
        ]
        measurement = {
            "num_examples": 1000,
            "score": {"value": 0.9},
            "effects": effects,
            "always_right": {"value": 0.5},
            "worst_case": {"success": {"value": 0.8}},
        }
        return json.dumps({"metrics": {"accuracy": {"value": 0.88}}, "robustness": measurement})

    monkeypatch.setattr(robustness, "output_of", output_of)
    monkeypatch.setattr(
        robustness, "train_once", lambda data_set, data, run_dir, seed: run_dir.mkdir(parents=True, exist_ok=True)
    )
    folder = options.data_dir / "banking77"
    for name in ("train", "test"):
        text = (folder / f"{name}.csv").read_text(encoding="utf-8")
        (folder / f"{name}.csv").write_text(text.replace("text,label", "text,category", 1), encoding="utf-8")
    return robustness.measure(options), commands


def test_accuracy_with_typing_errors_is_that_of_all_texts(measured):
    default, noise = measured[0].rows
    assert (default.system, noise.system) == tuple(robustness.SYSTEMS)
    assert default.values["typos"] == pytest.approx([0.84, 0.84]) and noise.values["typos"] == pytest.approx([0.87] * 2)
    assert "87.0 % (+3.0 points)" in measured[0].to_markdown().splitlines()[3]


def test_every_run_is_measured_once_with_its_time(measured, options):
    commands = measured[1]
    assert len(commands) == 4 and all(
        command[-3:] == ["--robustness", "--max-examples", "1000"] for command in commands
    )
    assert robustness.measure(options).rows[0].values["always_right"] == [0.5, 0.5] and len(commands) == 4
    files = sorted(options.out_dir.glob("*/robustness.json"))
    assert len(files) == 4 and all(read_json(path)["seconds"] >= 0 for path in files)
