"""Rows of the quality table, from reports and from the predictions of other libraries."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support import small

from benchmarks import quality, transformers_peer
from benchmarks.datasets import DataSet
from tfbert.files import read_json

# Predicts label 0 for every record.
STAND_IN = """
assert worker == "transformers_finetune" and job["kind"] == "sequence"
row = json.dumps({"label_id": 0, "probabilities": [0.8, 0.1, 0.1]}) + "\\n"
open(job["out"], "w").write(row * len(open(job["test"]).readlines()))
json.dump({"seconds": 7.5}, open(job["summary"], "w"))
"""
NOTES = DataSet("notes, few", "notes", peer="sequence", num_seeds=3)


@pytest.fixture
def measured(options, monkeypatch):
    """Return a function that calls `measure` for a data set with finished runs of two seeds."""

    def measure(data_set, **changes):
        monkeypatch.setattr(quality, "DATA_SETS", (data_set,))
        monkeypatch.setattr(quality, "BY_NAME", {data_set.name: data_set})
        monkeypatch.setattr(quality, "run", lambda command: pytest.fail("trained again"))
        (options.data_dir / data_set.path).mkdir()
        for seed in (0, 1):
            run_dir = options.out_dir / f"{data_set.slug}-0-{seed}"
            shutil.copytree(small.finished_run()[0], run_dir)
            report = read_json(run_dir / "report.json")
            report["test"]["metrics"]["accuracy"] = {"value": 0.8 + seed / 10, "low": 0.7, "high": 0.95}
            report["peak_memory_bytes"] = (1 + seed) * 2**30
            (run_dir / "report.json").write_text(json.dumps(report))
            (run_dir / "wall_seconds.txt").write_text(str(100.0 + seed))
        return quality.measure(replace(options, **changes))

    return measure


def test_rows_of_tfbert_and_transformers_are_listed(measured, stand_in, options):
    stand_in(STAND_IN)
    table = measured(replace(NOTES, metrics=("accuracy",)))
    own_row, peer_row = table.rows
    assert (own_row.system, own_row.values["score"], own_row.values["num_examples"]) == ("tfbert", [0.8, 0.9], [12])
    assert (own_row.values["seconds"], own_row.values["peak_memory_bytes"]) == ([100.0, 101.0], [2**30, 2**31])
    job = read_json(options.out_dir / "notes__few-0-0" / "peer" / "job.json")
    assert (job["epochs"], job["batch_size"], job["learning_rate"], job["sequence_length"]) == (3, 8, 2e-3, 32)
    test = [json.loads(line)["target"] for line in Path(job["test"]).read_text().splitlines()]
    assert peer_row.system == "transformers" and peer_row.values["seconds"] == [7.5, 7.5]
    assert peer_row.values["score"] == [test.count("card") / 12] * 2
    assert 0 < test.count("card") < 12
    assert "0.850 ± 0.071 (2 trainings) | 12 | 100 | 2.0 GiB |" in table.to_markdown().splitlines()[2]
    assert len(read_json(options.out_dir / "quality.json")["rows"]) == 2


def test_without_the_other_environment_only_tfbert_is_measured(measured, no_peers):
    rows = measured(NOTES, repeats=1).rows
    assert [(row.system, row.metric) for row in rows] == [("tfbert", "accuracy"), ("tfbert", "macro_f1")]
    assert (rows[0].values["score"], rows[0].values["interval"]) == ([0.8], [0.7, 0.95])


@pytest.mark.parametrize(("is_equal", "words"), [(True, "equal"), (False, "DIFFERENT")])
def test_weights_of_repeated_trainings_are_compared(measured, options, is_equal, words):
    repeated_dir = options.out_dir / "notes__few-0-0-again"
    shutil.copytree(small.finished_run()[0], repeated_dir)
    if not is_equal:
        (repeated_dir / "best.safetensors").write_bytes(b"other")
    table = measured(replace(NOTES, peer=""), repeats=1, check_repeatability=True)
    assert table.to_markdown().splitlines()[2].endswith(f"| {words} |")


def test_data_sets_that_are_missing_are_left_out_unless_named(options, caplog):
    with caplog.at_level("INFO"):
        assert quality.measure(replace(options, data_dir=options.data_dir / "none")).rows == []
    assert "sst2: left out" in caplog.text
    with pytest.raises(ValueError, match=r"sst2: does not exist; it holds the data of 'sst2'$"):
        quality.measure(replace(options, only=["sst2"]))


def test_a_finished_peer_is_not_trained_again(tmp_path, monkeypatch, stand_in):
    stand_in(STAND_IN)
    run_dir = small.finished_run()[0]
    first = transformers_peer.finetune("sequence", run_dir, tmp_path / "peer", 2)
    monkeypatch.setattr(transformers_peer, "run_worker", lambda *_: pytest.fail("trained again"))
    assert transformers_peer.finetune("sequence", run_dir, tmp_path / "peer", 2) == first
