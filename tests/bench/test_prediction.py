"""A file of texts, answered by whole commands: the same lines for every way, timed, and compared with ours."""

import json
import subprocess
from dataclasses import replace

import pytest

from tfbert.bench import prediction
from tfbert.files import read_json

# Answers every line with the first label.
STAND_IN = """
import json, sys
from pathlib import Path
program = Path(sys.argv[1])
if program.name == "peer_models.py":
    Path(sys.argv[2], "about.json").write_text('{"has_bfloat16": false}')
    sys.exit()
assert program.name == "peer_pipeline.py"
job = json.loads(Path(sys.argv[2]).read_text())
assert (job["batch_size"], job["is_bfloat16"]) == (64, False)
for line in Path(job["texts"]).read_text().splitlines():
    print(json.dumps({"text": line, "label": "card", "probability": 1.0}))
"""


@pytest.fixture
def measure(data_dir, served, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction, "make_served", lambda *_: served)
    return lambda num_repeats=1: prediction.measure(data_dir, tmp_path / "out", None, 150, num_repeats)


def test_every_way_answers_the_same_lines(measure, stand_in, tmp_path):
    stand_in(STAND_IN)
    ours, peer = measure(2)
    assert (ours["way"], peer["way"], ours["num_lines"]) == ("tfbert", "pipeline", 150)
    written = [json.loads(line) for line in (tmp_path / "out" / "predict" / "tfbert.jsonl").read_text().splitlines()]
    texts = (tmp_path / "out" / "predict" / "texts.txt").read_text().splitlines()
    assert [row["text"] for row in written] == texts and len(set(texts)) > 60
    share = sum(row["label"] == "card" for row in written) / 150
    assert 0 < peer["equal_labels_fraction"] == share < 1
    assert ours["equal_labels_fraction"] == 1
    assert all(len(row["seconds"]) == 2 and min(row["busy_seconds"]) > 0 for row in (ours, peer))
    assert read_json(tmp_path / "out" / "predict" / "predict.json") == {"rows": [ours, peer]}


def test_without_peers_ours_stands_alone(measure, no_peers):
    assert [row["way"] for row in measure()] == ["tfbert"]


def test_ours_in_bfloat16_is_asked_where_it_is(served, tmp_path, no_peers):
    ours = prediction._commands(served, tmp_path / "texts.txt", tmp_path)
    both = prediction._commands(replace(served, bfloat16_dir=tmp_path / "narrow"), tmp_path / "texts.txt", tmp_path)
    assert list(both) == ["tfbert", "tfbert-bfloat16"] and both["tfbert"] == ours["tfbert"]
    assert both["tfbert-bfloat16"][2:] == [str(tmp_path / "narrow"), *ours["tfbert"][3:]]


def test_a_command_that_fails_is_an_error(measure, stand_in):
    stand_in(STAND_IN.replace("job = json", "sys.exit(3); job = json"))
    with pytest.raises(subprocess.CalledProcessError, match="exit status 3"):
        measure()


def test_the_table_has_medians_and_ratios_within_a_repeat():
    row = {"way": "tfbert", "num_lines": 1000, "seconds": [2.0, 4.0, 3.0], "busy_seconds": [3.0, 5.0, 4.0]}
    peer = {"way": "pipeline", "num_lines": 1000, "seconds": [6.0, 8.0, 30.0], "busy_seconds": [9.0, 9.0, 9.0]}
    lines = prediction.to_markdown([row | {"equal_labels_fraction": 1}, peer | {"equal_labels_fraction": 0.99}])
    assert lines.splitlines()[2:] == [
        "| tools/predict.py | 1,000 | 3.0 (2.0 to 4.0) | 333 | 4.00 |  |  |",
        "| transformers pipeline, float32 | 1,000 | 8.0 (6.0 to 30.0) | 125 | 9.00 | 3.00 times as fast | 0.9900 |",
    ]
