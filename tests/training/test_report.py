"""The report of a run and the details of its page agree with the predictions."""

import json

import pytest

from tests.support import small
from tfbert.files import read_json


@pytest.fixture(scope="module")
def written():
    """The content of report.json and details.json, and the lines of predictions.jsonl for test."""
    run_dir, _ = small.finished_run()
    lines = (run_dir / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    test = [line for line in map(json.loads, lines) if line["split"] == "test"]
    return read_json(run_dir / "report.json"), read_json(run_dir / "details.json"), test


def test_the_report_counts_examples_and_declares_metrics(written):
    report, _, test = written
    assert {name: row["num_examples"] for name, row in report["data"].items()} == {
        "train": 48, "validation": 12, "test": 12,
    }  # fmt: skip
    assert report["test"]["num_examples"] == len(test) == 12 and report["task"] == "classification"
    assert set(report["test"]["metrics"]) <= {metric["name"] for metric in report["metrics"]}
    assert report["seconds"].keys() >= {"read", "start", "train", "validate", "baselines"}


def test_the_details_have_the_mistakes_of_test(written):
    _, details, test = written
    wrong = [line for line in test if line["outputs"]["label"] != line["gold"]]
    assert details["split"] == "test" and len(details["mistakes"]) == len(wrong)
    assert {mistake["where"] for mistake in details["mistakes"]} == {line["id"] for line in wrong}
    assert details["defaults"]["train.epochs"] != 3 and sum(map(sum, details["confusion"])) == 12
