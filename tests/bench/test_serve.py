"""Answers inside one process: the same texts for every way, compared with ours, and put into a table."""

import contextlib
import dataclasses
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from support import small

from tfbert.bench import serve
from tfbert.bench.processes import WORKERS
from tfbert.bench.workers import asking
from tfbert.files import read_json
from tfbert.serving import litert
from tfbert.serving.export import Servable, export
from tfbert.serving.predictor import Predictor
from tfbert.training.finished import load_run

# Answers every text with label 0; writes the names of the ONNX files that it would make.
STAND_IN = """
import sys
from pathlib import Path
program = Path(sys.argv[1])
if program.name == "peer_models.py":
    Path(sys.argv[2], "fused.onnx").write_text("made")
    Path(sys.argv[2], "about.json").write_text('{"has_bfloat16": false}')
    sys.exit()
assert program.name == "peer_answers.py"
sys.argv = sys.argv[1:]
sys.path.insert(0, str(program.parent))
import asking
import numpy as np
job, out = asking.read_job()
assert Path(job["model"], "fused.onnx").read_text() == "made" and job["num_threads"] > 0
print("libraries print")
row = np.array([0.8, 0.1, 0.1])
answer = lambda texts: {"label_id": np.zeros(len(texts), int), "probabilities": np.tile(row, (len(texts), 1))}
asking.answer_lines(answer, job["texts"], out)
"""
ROW = {
    "data": "banking77",
    "way": "tfbert",
    "p50": [4.0, 6.0, 5.0],
    "p99": 8.04,
    "texts_per_second": [100.0, 200.0, 150.0],
    "busy_single": [7.0, 9.0, 8.0],
    "busy_batches": [3.0, 5.0, 4.04],
    "equal_labels_fraction": 1.0,
    "max_difference": 0.0,
    "accuracy": 0.8765,
    "peak_memory_bytes": 3 * 2**29,
}
PLAN = serve.Plan(num_blocks=2, num_single=3, num_batches=1, batch_size=5)


@pytest.fixture
def measure(data_dir, served, tmp_path, monkeypatch):
    monkeypatch.setattr(serve, "make_served", lambda *_: served)
    return lambda: serve.measure(data_dir, tmp_path / "out", None, PLAN)


def test_the_table_has_medians_and_the_median_of_the_ratios_of_blocks():
    # The ratios of the medians would be 1.20 and 3.00.
    peer = ROW | {"way": "onnx-int8", "p50": [8.0, 6.0, 1.0], "texts_per_second": [50.0, 200.0, 30.0]}
    peer |= {"equal_labels_fraction": 0.98765, "max_difference": 0.0321, "accuracy": None}
    assert serve.to_markdown([ROW, peer]).splitlines()[2:] == [
        "| banking77 | tfbert: SavedModel, TensorFlow | 5.0 (4.0 to 6.0) | 8.0 | 150 (100 to 200) | 8.0 / 4.0 |  |  |  "
        "| 0.876 | 1.5 GiB |",
        "| banking77 | Rust tokenizer + onnxruntime, int8 | 6.0 (1.0 to 8.0) | 8.0 | 50 (30 to 200) | 8.0 / 4.0 "
        "| 1.00 / 2.00 times as fast | 0.988 | 3.2e-02 |  | 1.5 GiB |",
    ]


def test_peers_are_asked_the_same_and_compared_with_ours(measure, stand_in, monkeypatch, served):
    stand_in(STAND_IN)
    monkeypatch.setattr(serve, "_SAME", 1.0)
    rows = measure()
    assert [row["way"] for row in rows] == ["tfbert", "onnx", "onnx-int8", "torch"]  # no bfloat16, says the stand-in
    texts = [text for text, _ in small.rows(12, 3)]
    ours = Predictor(served.version_dir)([{"text": text} for text in texts])
    share = float(np.mean(ours["label_id"] == 0))
    for row in rows[1:]:
        assert row["equal_labels_fraction"] == pytest.approx(share)
        assert row["max_difference"] == pytest.approx(np.abs(ours["probabilities"] - [0.8, 0.1, 0.1]).max(), abs=1e-6)


def test_without_peers_ours_is_scored_as_the_run_was_and_asked_with_fewer_bits(
    data_dir, served, tmp_path, monkeypatch, no_peers
):
    run_dir = small.finished_run()[0]
    litert.export_litert(run_dir, tmp_path / "lite")
    run = load_run(run_dir, matrices="bfloat16")
    servable = Servable(answering=run.answering, config=run.config, report=run.report, samples=run.samples)
    forms = {"litert_dir": tmp_path / "lite", "bfloat16_dir": export(servable, tmp_path / "narrow")}
    monkeypatch.setattr(serve, "make_served", lambda *_: dataclasses.replace(served, **forms))
    rows = serve.measure(data_dir, tmp_path / "out", None, PLAN)
    assert [row["way"] for row in rows] == ["tfbert", "tfbert-bfloat16", "tfbert-litert"]
    assert read_json(tmp_path / "out" / "serve" / "serve.json")["rows"] == rows
    for row in rows:
        assert (row["data"], row["num_texts"]) == ("banking77", 12)
        assert [len(row[name]) for name in ("p50", "texts_per_second", "busy_single", "busy_batches")] == [2] * 4
        assert min(row["busy_single"] + row["busy_batches"]) > 0
        assert 0 < min(row["p50"]) <= row["p99"] and row["peak_memory_bytes"] > 2**20
    ours, *others = rows
    assert ours["accuracy"] == pytest.approx(read_json(run_dir / "report.json")["test"]["metrics"]["accuracy"]["value"])
    assert (ours["equal_labels_fraction"], ours["max_difference"]) == (1.0, 0.0)
    for row in others:
        assert row["equal_labels_fraction"] > 0.9
        assert 0 < row["max_difference"] < 0.1


@pytest.mark.parametrize(("way", "is_refused"), [("onnx", True), ("torch", True), ("onnx-int8", False)])
def test_a_peer_with_another_model_is_no_peer(way, is_refused):
    row = {"way": way, "data": "banking77", "max_difference": 1.1e-4}
    with pytest.raises(RuntimeError, match="banking77: another model$") if is_refused else contextlib.nullcontext():
        serve._check([row])
    serve._check([row | {"max_difference": 9e-5}])


def test_texts_follow_each_other_and_begin_anew(monkeypatch):
    asked = []

    def answer(texts):
        asked.append(texts)
        return {"label_id": np.array([len(text) for text in texts]), "probabilities": np.zeros((len(texts), 1))}

    jobs = [
        {"name": "x", "start": 2, "num_calls": 2, "batch_size": 2, "with_answers": True},
        {"name": "x", "start": 0, "num_calls": 3, "batch_size": 1},
    ]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(json.dumps(job) + "\n" for job in jobs)))
    out = io.StringIO()
    asking.answer_lines(answer, {"x": ["a", "bb", "ccc"]}, out)
    assert asked == [["ccc", "a"], ["bb", "ccc"], ["a"], ["bb"], ["ccc"]]
    ready, with_answers, without = map(json.loads, out.getvalue().splitlines())
    assert ready == {}
    assert with_answers["label_id"] == [3, 1, 2, 3] and len(with_answers["seconds"]) == 2
    assert "label_id" not in without and len(without["seconds"]) == 3


def test_the_peak_is_that_of_the_process_and_not_of_its_parent(tmp_path):
    large = bytearray(2**28)
    large[::4096] = b"x" * len(large[::4096])
    (tmp_path / "small.py").write_text("import asking; print(asking.memory_bytes('self', 'VmHWM'))")
    environment = {"PYTHONPATH": str(WORKERS)}
    done = subprocess.run([sys.executable, tmp_path / "small.py"], env=environment, capture_output=True, check=True)
    assert 2**22 < int(done.stdout) < 2**27 < 2**28 < asking.memory_bytes("self", "VmRSS")
