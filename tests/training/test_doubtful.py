"""Doubtful labels in the report of a run: of train by the frozen encoder, of test by the model."""

import csv
import dataclasses
import json

import pytest
from support import small

from tfbert.training import doubtful, run
from tfbert.training.problem import prepare


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doubtful")
    small.write_data(folder / "data", train=60, test=16)
    with open(folder / "data" / "train.csv", "a", encoding="utf-8") as stream:
        stream.write("card pin atm card pin,loan\ncard atm pin card,fee\n")
    table = folder / "earlier.csv"
    table.write_text("where,text,corrected_label\ntrain.csv:63,card atm pin card,loan\n", encoding="utf-8")
    config = small.config(folder / "data", train__epochs=3, data__corrections=str(table))
    run.train(dataclasses.replace(prepare(config), explains=True), folder / "run")
    return folder / "run"


@pytest.mark.slow
def test_the_report_lists_doubtful_labels_of_train_and_test(run_dir):
    found = json.loads((run_dir / "report.json").read_text(encoding="utf-8"))["doubtful"]
    assert found["num_labels"] == {"train": 62, "test": 16} and found["num_doubtful"]["train"] > 0
    with open(run_dir / "doubtful.csv", newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    by_where = {row["where"]: row for row in rows}
    assert by_where["train.csv:62"]["suggested_label"] == "card"
    assert "train.csv:62" in [row["where"] for row in found["rows"]]
    # A table that is trained with next does not lose earlier corrections.
    assert [row["where"] for row in rows if row["corrected_label"] == "loan"] == ["train.csv:63"]
    assert sum(found["num_doubtful"].values()) in (len(rows), len(rows) - 1)
    wrong = [
        (line["id"], line["outputs"]["label"])
        for line in map(json.loads, (run_dir / "predictions.jsonl").read_text(encoding="utf-8").splitlines())
        if line["split"] == "test" and line["outputs"]["label"] != line["gold"]
    ]
    assert sorted((row["where"], row["suggested_label"]) for row in rows if row["split"] == "test") == sorted(wrong)


@pytest.mark.slow
def test_the_page_shows_them(run_dir):
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert 'id="doubtful"' in page and "train.csv:62" in page and f"--corrections {run_dir / 'doubtful.csv'}" in page


def test_a_task_whose_labels_cannot_be_judged_has_none(tmp_path):
    problem = prepare(small.config(small.write_scored_pairs(tmp_path), task="regression"))
    assert doubtful.find_doubtful(problem, {}, 1) is None


def test_entities_of_both_splits_are_judged(tmp_path):
    for name in ("train", "test"):
        rows = [{"text": f"Ada met {other}", "entities": [[0, 3, "person"]]} for other in "abcdefghij"]
        rows[4]["entities"] = []
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    problem = prepare(small.config(tmp_path, task="entities", data__validation_fraction=0.0))
    judged = doubtful.find_doubtful(problem, {"test": ({}, [])}, 1)
    assert judged.has_spans and set(judged.num_labels) == {"train", "test"}
    assert doubtful.write_doubtful(problem, judged, tmp_path)["num_labels"] == dict(judged.num_labels)
    with open(tmp_path / "doubtful.csv", newline="", encoding="utf-8-sig") as stream:
        missed = {(row["where"], row["start"], row["end"], row["entity"]) for row in csv.DictReader(stream)}
    assert {("train.jsonl:5", "0", "3", "Ada"), ("test.jsonl:5", "0", "3", "Ada")} <= missed
