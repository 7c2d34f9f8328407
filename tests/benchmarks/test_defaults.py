"""Rows of the defaults table, from reports and from the predictions of transformers."""

import json
import shutil
from dataclasses import replace

import pytest
from support import small

from benchmarks import defaults
from benchmarks.datasets import DEVELOPMENT_SETS, DataSet
from tfbert.files import read_json

NOTES = DataSet("notes", "notes", metrics=("accuracy",), kind="sequence", num_seeds=2)
HELD_OUT = replace(NOTES, name="bills", is_held_out=True)
# Predicts label 0; the lower of the two learning rates has the lower validation loss.
STAND_IN = """
assert job["keeps_best"] and job["epochs"] == 5
row = json.dumps({"label_id": 0, "probabilities": [0.8, 0.1, 0.1]}) + "\\n"
open(job["out"], "w").write(row * (len(open(job["test"]).readlines())))
json.dump({"seconds": 10.0, "validation_loss": job["learning_rate"]}, open(job["summary"], "w"))
"""


@pytest.fixture
def measured(options, monkeypatch):
    """Return a function that calls `measure` for two data sets whose runs exist, with a score for each system."""

    def measure(names, **changes):
        monkeypatch.setattr(defaults, "DEVELOPMENT_SETS", (NOTES, HELD_OUT))
        monkeypatch.setattr(defaults.internals, "frozen_accuracy", lambda run_dir: 0.5)
        (options.data_dir / "notes").mkdir()
        for data_set in (NOTES, HELD_OUT):
            for name, accuracy in names.items():
                for seed in (0, 1):
                    run_dir = options.out_dir / f"{data_set.slug}-{name}-{seed}"
                    shutil.copytree(small.finished_run()[0], run_dir)
                    report = read_json(run_dir / "report.json")
                    report["test"]["metrics"]["accuracy"] = {"value": accuracy + seed / 10}
                    (run_dir / "report.json").write_text(json.dumps(report))
                    (run_dir / "wall_seconds.txt").write_text(str(100.0 + seed))
        return defaults.measure(replace(options, **changes))

    return measure


def test_systems_are_listed_with_their_averages(measured, stand_in, options, tmp_path):
    stand_in(STAND_IN)
    table = measured({"tfbert": 0.8, "older": 0.7}, against=tmp_path)
    scores = {(row.workload, row.system): row.values["score"] for row in table.rows}
    systems = ["tfbert", "tfbert, older", "frozen encoder", "transformers"]
    workloads = ["notes", "bills (held out)", "average of all sets (2)", "average of held-out sets (1)"]
    assert list(scores) == [(workload, system) for workload in workloads for system in systems]
    assert scores["notes", "tfbert"] == pytest.approx([0.8, 0.9])
    assert scores["average of all sets (2)", "tfbert, older"] == pytest.approx([0.75])
    assert scores["notes", "frozen encoder"] == [0.5, 0.5]
    peer_dir = options.out_dir / "notes-tfbert-0" / "transformers-5e-05"
    test = [json.loads(line)["target"] for line in (peer_dir / "test.jsonl").read_text().splitlines()]
    assert scores["notes", "transformers"][0] == pytest.approx(test.count("card") / len(test))
    lines = table.to_markdown().splitlines()
    assert lines[2] == "| notes | tfbert | 0.850 ± 0.071 (2 trainings) | 100 |  |"
    assert lines[3] == "| notes | tfbert, older | 0.750 ± 0.071 (2 trainings) | 100 | -10.0 points |"
    assert read_json(options.out_dir / "defaults.json")["rows"][0]["workload"] == "notes"


def test_settings_are_tried_without_other_systems(measured):
    rows = measured({"learning_rate=1e-4": 0.6}, settings={"train.learning_rate": "1e-4"}, only=["notes"]).rows
    assert [row.system for row in rows] == ["learning_rate=1e-4"] * 2
    assert rows[0].values["score"] == pytest.approx([0.6, 0.7])


def test_a_training_split_is_drawn_once_per_seed(options, monkeypatch):
    trained = []
    monkeypatch.setattr(defaults, "train_once", lambda changed, data, run_dir, seed, checkout: trained.append(data))
    monkeypatch.setattr(defaults, "_row", lambda *_: None)
    data_set = next(entry for entry in DEVELOPMENT_SETS if entry.name == "banking77, 2,000 rows")
    folder = options.data_dir / "banking77"
    for name in ("train", "test"):
        text = (folder / f"{name}.csv").read_text(encoding="utf-8")
        (folder / f"{name}.csv").write_text(text.replace("text,label", "text,category", 1), encoding="utf-8")
    list(defaults._rows(data_set, replace(options, settings={"train.epochs": "1"}, max_examples=20)))
    drawn = [(path / "train.jsonl").read_text(encoding="utf-8").splitlines() for path in trained]
    assert [len(lines) for lines in drawn] == [20, 20] and drawn[0] != drawn[1]
