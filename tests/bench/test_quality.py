"""The quality table: its rows come from reports, and unknown names are refused."""

import json

import pytest

from tfbert.bench import quality

ROW = {
    "name": "some data",
    "num_examples": 3080,
    "metrics": {
        "accuracy": {"values": [0.92, 0.94], "mean": 0.93, "std": 0.0141421},
        "macro_f1": {"values": [0.91], "mean": 0.91, "std": None, "low": 0.9, "high": 0.92},
    },
    "peer": "somebody",
    "peer_metrics": {"accuracy": {"values": [0.8546], "mean": 0.8546, "std": None, "low": None, "high": None}},
    "seconds": 90.0,
    "peak_memory_bytes": 3 * 2**30,
    "repeats_equal": True,
}


def test_a_row_shows_spread_over_trainings_or_the_interval_of_one():
    assert quality.to_markdown([ROW]).splitlines()[2:] == [
        "| some data | 3,080 | accuracy | 0.930 ± 0.014 (2 trainings) | 0.855 | somebody | 1.5 | 3.0 GiB | equal |",
        "| some data | 3,080 | macro f1 | 0.910 (0.900 to 0.920) |  |  |  |  |  |",
    ]


@pytest.mark.parametrize(("equal", "words"), [(None, "not tried"), (False, "DIFFERENT")])
def test_what_was_not_equal_or_not_tried_is_said(equal, words):
    assert quality.to_markdown([{**ROW, "repeats_equal": equal}]).splitlines()[2].endswith(f"| {words} |")


def test_a_row_measured_again_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "quality.json"
    for name, number in (("sst2", 1), ("banking77", 2), ("sst2", 3)):
        quality._keep({"name": name, "number": number}, path)
    rows = json.loads(path.read_text())["rows"]
    assert [(row["name"], row["number"]) for row in rows] == [("banking77", 2), ("sst2", 3)]


def test_an_unknown_row_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^--only 'bank' is not one of banking77, "):
        quality.measure(tmp_path, tmp_path, ["bank"])


def test_a_row_asked_for_whose_data_is_missing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"sst2: is not there; wanted the data of 'sst2'$"):
        quality.measure(tmp_path, tmp_path, ["sst2"])


def test_rows_without_data_are_left_out_when_none_is_named(tmp_path, caplog):
    with caplog.at_level("INFO"):
        assert quality.measure(tmp_path / "none", tmp_path, []) == []
    assert "sst2: no" in caplog.text


def test_a_finished_run_is_read_and_not_repeated(tmp_path, monkeypatch):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "report.json").write_text('{"seed": 7}', encoding="utf-8")
    monkeypatch.setattr(quality, "run_tool", lambda *_, **__: pytest.fail("trained again"))
    assert quality.train_once(quality.DATA_SETS[0], tmp_path, run_dir, 7) == {"seed": 7}
