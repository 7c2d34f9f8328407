"""Latency within one process: the same texts for every system, compared with tfbert."""

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from support import small

from benchmarks import serve, served_model
from benchmarks.processes import ROOT
from benchmarks.tables import Row
from benchmarks.workers import protocol
from tfbert.files import read_json
from tfbert.serving.saved_predictor import SavedPredictor

# Predicts label 0 for every text, and writes the names of the ONNX files.
STAND_IN = """
from pathlib import Path
import numpy as np
from benchmarks.workers import protocol
assert worker == "peer_models"
if job["kind"] == "write":
    Path(job["model"], "fused.onnx").write_text("made")
    Path(job["model"], "about.json").write_text('{"has_bfloat16": false}')
    sys.exit()
assert Path(job["model"], "fused.onnx").read_text() == "made" and job["num_threads"] > 0
sys.argv[1:] = [path]
job, out = protocol.read_job()
print("libraries print")
predict = lambda t: {"label_id": np.zeros(len(t), int), "probabilities": np.tile([0.8, 0.1, 0.1], (len(t), 1))}
protocol.predict_lines(predict, job["texts"], out)
"""
PLAN = serve.Plan(num_blocks=2, num_single=3, num_batches=1, batch_size=5)


@pytest.mark.slow
def test_other_libraries_predict_the_same_texts_and_are_compared(options, served, stand_in, monkeypatch):
    stand_in(STAND_IN)
    monkeypatch.setattr(serve, "export", lambda *_: served)
    monkeypatch.setattr(serve, "check_same_model", lambda rows: None)
    own_row, *peer_rows = serve.measure(options, PLAN).rows
    # The stand-in has no bfloat16.
    assert [row.system for row in peer_rows] == [serve.PEERS[kind] for kind in ("onnx", "onnx-int8", "torch")]
    expected = SavedPredictor(served.model_dir)([{"text": text} for text, _ in small.rows(12, 3)])
    fraction = float(np.mean(expected["label_id"] == 0))
    difference = float(np.abs(expected["probabilities"] - [0.8, 0.1, 0.1]).max())
    for row in peer_rows:
        assert row.values["equal_labels_fraction"] == [pytest.approx(fraction)]
        assert row.values["max_difference"] == [pytest.approx(difference, abs=1e-6)]
    assert [len(own_row.values[key]) for key in ("p50_ms", "texts_per_second", "single_core_ms", "batch_core_ms")] == [
        2
    ] * 4
    assert 0 < min(own_row.values["p50_ms"]) <= own_row.values["p99_ms"][0]
    report = read_json(small.finished_run()[0] / "report.json")
    assert own_row.values["accuracy"] == [pytest.approx(report["test"]["metrics"]["accuracy"]["value"])]


@pytest.mark.slow
def test_the_model_is_exported_in_all_forms_and_litert_is_near(options, monkeypatch, no_peers):
    monkeypatch.setattr(served_model.internals, "multiplies_bfloat16", lambda: False)
    options = replace(options, run_dir=small.finished_run()[0])
    exported = []
    monkeypatch.setattr(serve, "export", lambda *args: exported.append(served_model.export(*args)) or exported[0])
    own_row, litert_row = serve.measure(options, PLAN).rows
    (served,) = exported
    assert served.labels == ["card", "fee", "loan"] and served.bfloat16_dir is None
    assert {path.name for path in served.peer_dir.iterdir()} == {"encoder", "head.npz", "model.json"}
    assert (own_row.values["equal_labels_fraction"], own_row.values["max_difference"]) == ([1.0], [0.0])
    assert litert_row.system == "Rust tokenizer + tfbert's LiteRT, int8"
    assert litert_row.values["equal_labels_fraction"][0] > 0.9
    assert 0 < litert_row.values["max_difference"][0] < 0.1


@pytest.mark.parametrize(("kind", "is_rejected"), [("onnx", True), ("torch", True), ("onnx-int8", False)])
def test_a_float32_export_that_differs_is_rejected(kind, is_rejected):
    def row(difference):
        return Row(workload="banking77", system=serve.PEERS[kind], values={"max_difference": [difference]})

    with pytest.raises(RuntimeError, match="another model$") if is_rejected else contextlib.nullcontext():
        serve.check_same_model([row(1.1e-4)])
    serve.check_same_model([row(9e-5)])


def test_the_order_of_drawn_texts_is_reproducible(options, monkeypatch):
    texts, labels = served_model.texts_of(options)["banking77"]
    assert served_model.texts_of(options) == {"banking77": (texts, labels)}
    in_file = small.rows(12, 3)
    assert sorted(zip(texts, labels, strict=True)) == sorted(in_file)
    assert texts != [text for text, _ in in_file]
    monkeypatch.setattr(served_model, "_NUM_TEXTS", 5)
    assert len(served_model.texts_of(options)["banking77"][0]) == 5


def test_without_model_and_data_to_train_on_both_are_named(options, tmp_path):
    with pytest.raises(ValueError, match=r"'banking77, 10 per label', which is needed without --model RUN$"):
        served_model.export(replace(options, data_dir=tmp_path))


def test_texts_are_repeated_cyclically(monkeypatch):
    batches = []

    def predict(texts):
        batches.append(texts)
        return {"label_id": np.array([len(text) for text in texts]), "probabilities": np.zeros((len(texts), 1))}

    jobs = [
        {"name": "x", "start": 2, "num_calls": 2, "batch_size": 2, "with_outputs": True},
        {"name": "x", "start": 0, "num_calls": 3, "batch_size": 1},
    ]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(json.dumps(job) + "\n" for job in jobs)))
    out = io.StringIO()
    protocol.predict_lines(predict, {"x": ["a", "bb", "ccc"]}, out)
    assert batches == [["ccc", "a"], ["bb", "ccc"], ["a"], ["bb"], ["ccc"]]
    ready, with_outputs, without = map(json.loads, out.getvalue().splitlines())
    assert ready == {}
    assert with_outputs["label_id"] == [3, 1, 2, 3] and len(with_outputs["seconds"]) == 2
    assert "label_id" not in without and len(without["seconds"]) == 3


def test_peak_memory_excludes_the_parent_process():
    large = bytearray(2**28)
    large[::4096] = b"x" * len(large[::4096])
    program = "from benchmarks.workers import protocol; print(protocol.peak_memory_bytes())"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
    assert 2**22 < int(result.stdout) < 2**27 < 2**28 < protocol.peak_memory_bytes()
