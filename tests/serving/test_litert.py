"""Export for LiteRT: its description and errors. test_contract.py checks the outputs of every task."""

import sys

import pytest
from support import small

from tfbert.files import read_json
from tfbert.serving import litert


def test_the_effect_of_8_bit_weights_is_measured_and_described(tmp_path):
    run_dir, _ = small.finished_run()
    description = litert.export_litert(run_dir, tmp_path / "lite")
    assert description["task"]["labels"] == ["card", "fee", "loan"]
    assert description["tokenizer"] == {"lowercase": True, "strip_accents": True, "split_on_cjk": True}
    compared = description["compared"]
    report = read_json(run_dir / "report.json")
    assert compared["num_rows"] == report["test"]["num_examples"]
    assert compared["float32"] == pytest.approx(report["test"]["metrics"][compared["metric"]]["value"])
    assert compared["narrow"] == pytest.approx(compared["float32"], abs=0.1)
    line = litert.describe(description)
    assert f"on {compared['num_rows']} sequences of test, label_id equal in " in line
    assert f"{compared['metric']} {compared['float32']:.4f} in float32 and {compared['narrow']:.4f} here" in line


def test_a_directory_with_other_files_is_not_changed(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="contains 'notes.txt'; expected a new or empty directory, or a LiteRT model"):
        litert.export_litert(small.finished_run()[0], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_missing_litert_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(
        ValueError,
        match=r"the package ai_edge_litert, needed for LiteRT models, is .* pip install -e '\.\[litert\]' -c ",
    ):
        litert.export_litert(small.finished_run()[0], tmp_path / "lite")
