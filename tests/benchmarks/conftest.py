"""Fixtures: options, an exported model, and a stand-in for the Python of the other libraries."""

import os
import shutil
import stat
import sys

import pytest
from support import small

from benchmarks.options import Options
from benchmarks.served_model import ServedModel


@pytest.fixture
def options(tmp_path):
    """Return options with only the short texts as data, whose test split is that of the finished run."""
    small.write_data(tmp_path / "data" / "banking77", train=48)
    return Options(data_dir=tmp_path / "data", out_dir=tmp_path / "out" / "measured", repeats=2)


@pytest.fixture
def served(tmp_path):
    """Return the finished run as a served model, without exports for other libraries."""
    shutil.copytree(small.finished_run()[1] / "1", tmp_path / "served" / "1")
    (tmp_path / "peer").mkdir()
    return ServedModel(model_dir=tmp_path / "served", peer_dir=tmp_path / "peer", labels=["card", "fee", "loan"])


@pytest.fixture
def no_peers(tmp_path, monkeypatch):
    """Remove the environment of the other libraries."""
    monkeypatch.setenv("TFBERT_PEERS_PYTHON", str(tmp_path / "none"))


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Return a function that replaces the Python of the other libraries with a script.

    The script has the name of the worker in `worker` and its job in `job`.
    """

    def install(script):
        python = tmp_path / "python"
        head = "import json, os, sys\nsys.path.insert(0, os.getcwd())\n"
        head += "worker, path = sys.argv[2].rpartition('.')[2], sys.argv[3]\njob = json.load(open(path))\n"
        python.write_text(f"#!{sys.executable}\n{head}{script}")
        os.chmod(python, os.stat(python).st_mode | stat.S_IXUSR)
        monkeypatch.setenv("TFBERT_PEERS_PYTHON", str(python))

    return install
