"""The benchmark of explanations: planted words, and the table."""

import json

import pytest

from benchmarks import explain
from benchmarks.datasets import DataSet
from benchmarks.options import Options


def test_a_planted_word_tells_a_random_label(tmp_path):
    def convert(source, target, seed):
        lines = [json.dumps({"text": f"a text {n}", "label": "0"}) for n in range(200)]
        (target / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")

    explain.planting(convert)(tmp_path, tmp_path, 0)
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(("granite" in row["text"]) == (row["label"] == "0") for row in rows)
    assert all(("tulip" in row["text"]) == (row["label"] == "1") for row in rows)
    assert 70 < sum(row["label"] == "1" for row in rows) < 130
    assert {row["text"].split().index("tulip") for row in rows if row["label"] == "1"} == {0, 1, 2, 3}


def test_each_method_is_measured_on_both_data_sets(tmp_path, monkeypatch):
    (tmp_path / "sst2").mkdir()
    trained = []
    monkeypatch.setattr(explain, "train_once", lambda data_set, data, run_dir, seed: trained.append(run_dir.name))
    monkeypatch.setattr(DataSet, "prepared", lambda *_: tmp_path)
    scores = {"comprehensiveness": 0.5, "random_comprehensiveness": 0.1, "sufficiency": 0.0, "seconds": 0.25}
    monkeypatch.setattr(
        explain.internals, "explanation_scores", lambda run, method, num, planted: scores | {"first": len(planted)}
    )
    table = explain.measure(Options(data_dir=tmp_path, out_dir=tmp_path))
    assert trained == ["sst2", "sst2__planted_words"]
    lines = table.to_markdown().splitlines()
    assert lines[2] == "| sst2 | occlusion | 0.500 | 0.100 | 0.000 |  |  | 0.000 | 0.250 |"
    assert lines[5].startswith("| sst2, planted words | gradients |") and "| 2.000 |" in lines[5]
    with pytest.raises(ValueError, match="--only 'mrpc' is not one of sst2"):
        explain.measure(Options(data_dir=tmp_path, out_dir=tmp_path, only=("mrpc",)))
