"""The table of calibration, guarantees and out-of-domain detection."""

import pytest

from benchmarks import trust
from benchmarks.datasets import DataSet
from benchmarks.options import Options

CALIBRATION = {name: {"calibration_error": {"value": value}} for name, value in (("before", 0.05), ("after", 0.01))}
REPORT = {"trust": {"calibration": CALIBRATION, "domain": {"refused": {"value": 0.05}}}}


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Return the table of two seeds, with stand-ins for training and for what needs a model."""
    for name in ("banking77", "clinc150"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(DataSet, "prepared", lambda *_: tmp_path)
    monkeypatch.setattr(trust, "train_once", lambda data_set, data, run_dir, seed: REPORT)
    drawn = {
        "coverage": [0.89, 0.92],
        "size": [1.0, 1.5],
        "exact": [0.89, 0.91],
        "within": [True, False],
        "answered": [0.5, 0.7],
        "answers": [True, True],
        "bounded": [True, True],
    }
    monkeypatch.setattr(trust.internals, "guarantees", lambda run_dir, num_draws: drawn)
    monkeypatch.setattr(trust.internals, "latency_of_decisions", lambda run_dir: [1.02, 1.01])
    monkeypatch.setattr(trust.internals, "out_of_scope", lambda run_dir, texts: {"auroc": [0.97], "recall": [0.8]})
    monkeypatch.setattr(trust.conversions, "clinc_out_of_scope", lambda path: ["a text"])
    names = ("samples", "banking77", "clinc150")
    return trust.measure(Options(data_dir=tmp_path, out_dir=tmp_path, only=names, repeats=2))


def test_values_of_all_seeds_and_draws_are_in_a_row(table):
    _, banking, clinc = table.rows
    assert banking.values["within"] == [True, False] * 2 and banking.values["before"] == [0.05] * 2
    lines = table.to_markdown().splitlines()
    cells = [cell.strip() for cell in lines[3].split("|")[3:-1]]
    assert cells[:8] == ["5.0 %", "1.0 %", "90.5 %", "90.0 %", "2 of 4", "1.25", "4 of 4", "4 of 4"]
    assert cells[8:] == ["60.0 %", "5.0 %", "", "", "1.020", "1.010"]
    assert "| 0.970 | 80.0 % |" in lines[4] and clinc.values["auroc"] == [0.97] * 2


def test_samples_have_only_a_calibration_error(table):
    assert table.rows[0].values == {"before": [0.05] * 2, "after": [0.01] * 2}
    assert table.to_markdown().splitlines()[2].startswith("| samples | tfbert | 5.0 % | 1.0 % |  |")
