"""The table of speeds: our own row always, the peers' rows where their environment is."""

import os
import stat
import sys

import pytest
from support import corpora

from tfbert.bench import preparation
from tfbert.files import read_json

# Stands in for the environment with transformers and datasets, and leaves its job to be looked at.
STAND_IN = """#!{python}
import json, sys
assert sys.argv[1] == "-P" and sys.argv[2].endswith("preparation_peer.py")
job = json.load(open(sys.argv[3]))
words = len(open(job["lines"]).read().split())
sentences = [sentence for line in open(job["sample"]) for sentence in json.loads(line)]
json.dump({{"loop": {{"tokens": len(sentences), "seconds": 2.0}}, "map": {{"tokens": words, "seconds": 0.5}}}},
          open(job["out"], "w"))
"""


@pytest.fixture
def data_dir(tmp_path):
    corpora.write_corpus(tmp_path / "data" / "fomc_minutes", 40)
    return tmp_path / "data"


def test_speeds_next_to_the_peers(data_dir, tmp_path, monkeypatch, minilm_dir):
    python = tmp_path / "python"
    python.write_text(STAND_IN.format(python=sys.executable))
    os.chmod(python, os.stat(python).st_mode | stat.S_IXUSR)
    monkeypatch.setenv("TFBERT_PEERS_PYTHON", str(python))
    for _ in range(2):  # what is there already is prepared again
        rows = preparation.measure(data_dir, tmp_path / "out")
        assert [row["way"] for row in rows] == ["tfbert", "map", "loop"]
    ours, mapped, loop = rows
    texts = [corpora.text_of(number) for number in range(40)]
    index = read_json(tmp_path / "out" / "fomc_minutes" / "rows" / "index.json")
    assert ours["tokens"] == sum(split["num_tokens"] for split in index["splits"].values())
    assert ours["seconds"] > 0
    assert mapped["tokens"] == sum(len(text.split()) for text in texts)
    assert loop["tokens"] == sum(text.count(".") for text in texts)
    assert ours["characters"] == mapped["characters"] == loop["characters"] == sum(len(text) + 1 for text in texts)
    table = preparation.to_markdown([{**loop, "tokens": 3_000, "characters": 9_000}]).splitlines()
    assert table[-1] == f"| fomc_minutes | {preparation.WAYS['loop']} | 2.00 | 4,500 | 1,500 |"


def test_without_the_peers(data_dir, tmp_path, monkeypatch, minilm_dir):
    monkeypatch.setenv("TFBERT_PEERS_PYTHON", str(tmp_path / "none"))
    assert [row["way"] for row in preparation.measure(data_dir, tmp_path / "out")] == ["tfbert"]


def test_without_data(tmp_path):
    with pytest.raises(ValueError, match="holds none of fomc_minutes, peoples_daily_1998"):
        preparation.measure(tmp_path, tmp_path / "out")
