"""What a search is worth: from the reports that searches leave, to a table."""

import json

import pytest

from tfbert.bench import search
from tfbert.bench.datasets import DataSet


def report(algorithm, ours, theirs):
    difference = sum(ours) / len(ours) - sum(theirs) / len(theirs)
    return {
        "trials": [{}] * 4,
        "objective": {"name": "accuracy"},
        "test": {"num_examples": 1234},
        "sentence": f"{algorithm} it was.",
        "seconds": {"trials": 100.0, "confirm": 50.0, "test": 30.0},
        "comparison": {
            "ours": {"values": ours},
            "theirs": {"values": theirs},
            "difference": difference,
            "low": difference - 0.01,
            "high": difference + 0.01,
        },
    }


def test_a_row_for_every_way(tmp_path, monkeypatch):
    (tmp_path / "data" / "notes").mkdir(parents=True)
    monkeypatch.setattr(search, "DATA_SETS", (DataSet("notes, few", "notes"),))
    monkeypatch.setattr(search.peers, "optuna", lambda kind, run_dir, job: found | {"job": job})
    found = {"test": {"accuracy": [0.5, 0.6]}, "seconds": 240.0, "best": {"epochs": 8}}
    for algorithm, ours in (("bayesian", [0.7, 0.8]), ("random", [0.6, 0.6])):
        folder = tmp_path / "out" / f"notes__few-{algorithm}"
        (folder / "best" / "peer").mkdir(parents=True)
        said = report(algorithm, ours, [0.55, 0.65])
        (folder / "report.json").write_text(json.dumps(said))
        (folder / "best" / "report.json").write_text(json.dumps(said))
        (folder / "weights").write_bytes(b"0" * 2**21)
        (folder / "best" / "peer" / "theirs").write_bytes(b"0" * 2**22)
    rows = search.measure(tmp_path / "data", tmp_path / "out", num_seeds=2)
    assert [row["way"] for row in rows] == [
        "bayesian, 4 trials", "random, 4 trials", "Optuna + transformers, 20 trials",
    ]  # fmt: skip
    lines = search.to_markdown(rows).splitlines()
    assert len(lines) == 5
    assert lines[2].startswith(
        "| notes, few | 1,234 | accuracy | bayesian, 4 trials | 0.600 ± 0.071 (2 trainings) | 0.750"
    )
    assert "+0.150 (+0.140 to +0.160) | 3.0 | 2 MiB |" in lines[2]
    assert lines[4].endswith("|  | 0.550 ± 0.071 (2 trainings) |  | 4.0 |  |")
    assert json.loads((tmp_path / "out" / "search.json").read_text())["rows"] == rows


def test_the_peer_searches_the_same_ranges():
    ranges = {}

    def optuna(kind, run_dir, job):
        ranges.update(job)

    original, search.peers.optuna = search.peers.optuna, optuna
    try:
        assert search._peer_row(DataSet("notes", "notes"), None, 3, 7) == []
    finally:
        search.peers.optuna = original
    assert ranges["seeds"] == [1, 2, 3] and ranges["trials"] == 7
    assert ranges["ranges"]["learning_rate"] == [2e-5, 5e-4] and ranges["ranges"]["epochs"] == [2, 3, 5, 8]


def test_data_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match="is not there; wanted the data of 'banking77, 10 a label'"):
        search.measure(tmp_path, tmp_path / "out", ["banking77, 10 a label"])
    with pytest.raises(ValueError, match="--only 'banking' is not one of"):
        search.measure(tmp_path, tmp_path / "out", ["banking"])
