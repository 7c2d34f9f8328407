"""Peers: what they predict is scored by our own code, and what cannot run is left out and said."""

import json
import os
import stat
import sys

from support import small

from tfbert.bench import peers
from tfbert.files import read_json

# Stands in for the environment with PyTorch: it answers every record with label 0, and says what it was asked to do.
STAND_IN = """#!{python}
import json, sys
job = json.load(open(sys.argv[3]))
assert sys.argv[1] == "-P" and sys.argv[2].endswith("transformers_peer.py")
count = len(open(job["test"]).read().splitlines())
with open(job["out"], "w") as stream:
    stream.writelines(json.dumps({{"label_id": 0, "probabilities": [0.8, 0.1, 0.1]}}) + "\\n" for _ in range(count))
json.dump({{"seconds": 7.5}}, open(job["out"].replace(".jsonl", ".summary.json"), "w"))
"""

# The same for a search: with seed N it answers every record with label N.
SEARCHING = """#!{python}
import json, sys
job = json.load(open(sys.argv[3]))
assert sys.argv[2].endswith("optuna_peer.py")
count = len(open(job["test"]).read().splitlines())
for seed in job["seeds"]:
    with open(job["out"].replace(".jsonl", f"-{{seed}}.jsonl"), "w") as stream:
        said = json.dumps({{"label_id": seed, "probabilities": [0.8, 0.1, 0.1]}}) + "\\n"
        stream.write(said * count)
json.dump({{"seconds": 9.5, "best": {{"epochs": 2}}}}, open(job["out"].replace(".jsonl", ".summary.json"), "w"))
"""


def run_beside(tmp_path, monkeypatch, script):
    """Return a copy of a finished run, beside which a script stands in for the Python of the peers' environment."""
    run_dir, _ = small.finished_run()
    copied = tmp_path / "run"
    copied.mkdir()
    for name in ("config.json", "model.json", "report.json"):
        (copied / name).write_bytes((run_dir / name).read_bytes())
    python = tmp_path / "python"
    python.write_text(script.format(python=sys.executable))
    os.chmod(python, os.stat(python).st_mode | stat.S_IXUSR)
    monkeypatch.setenv("TFBERT_PEERS_PYTHON", str(python))
    monkeypatch.setattr(peers, "resolve", lambda name: type("Source", (), {"directory": f"/of/{name}"}))
    return copied


def test_predictions_become_answers():
    found = peers.answers_of([{"n": 1, "texts": ["é"], "ends": [3]}, {"n": 0, "texts": [], "ends": []}])
    assert found["n"].tolist() == [1, 0]
    assert found["texts"].tolist() == [["é".encode()], [b""]]
    assert found["ends"].tolist() == [[3], [0]]


def test_a_peer_without_its_environment_is_left_out(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TFBERT_PEERS_PYTHON", str(tmp_path / "none"))
    with caplog.at_level("INFO"):
        assert peers.transformers("sequence")(tmp_path) is None
    assert "`make peers` builds its environment" in caplog.text


def test_a_peer_gets_the_same_data_and_settings_and_our_scores(tmp_path, monkeypatch):
    copied = run_beside(tmp_path, monkeypatch, STAND_IN)
    found = peers.transformers("sequence")(copied)
    report, job = read_json(copied / "report.json"), read_json(copied / "peer" / "job.json")
    assert (job["epochs"], job["batch_size"], job["learning_rate"], job["sequence_length"]) == (3, 8, 2e-3, 32)
    assert job["encoder"] == "/of/tiny"
    test = [json.loads(line) for line in (copied / "peer" / "test.jsonl").read_text().splitlines()]
    assert len(test) == report["test"]["num_examples"]
    share = sum(record["target"] == "card" for record in test) / len(test)
    assert 0 < found["accuracy"] == share < 1
    assert found["seconds"] == 7.5


def test_optuna_gets_the_validation_records_too_and_every_seed_a_score(tmp_path, monkeypatch):
    copied = run_beside(tmp_path, monkeypatch, SEARCHING)
    found = peers.optuna("sequence", copied, {"trials": 4, "ranges": {"epochs": [1, 2]}, "seeds": [1, 2, 0]})
    job = read_json(copied / "peer" / "job.json")
    assert (job["trials"], job["ranges"], job["kind"]) == (4, {"epochs": [1, 2]}, "sequence")
    assert len((copied / "peer" / "validation.jsonl").read_text().splitlines()) == 12
    test = [json.loads(line)["target"] for line in (copied / "peer" / "test.jsonl").read_text().splitlines()]
    labels = ["card", "fee", "loan"]
    assert found["test"]["accuracy"] == [test.count(labels[seed]) / len(test) for seed in (1, 2, 0)]
    assert (found["seconds"], found["best"]) == (9.5, {"epochs": 2})
