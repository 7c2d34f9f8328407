"""What the tables of serving are tested with: a finished run of the encoder `tiny` and the texts that it is asked."""

import os
import shutil
import stat
import sys

import pytest
from support import small

from tfbert.bench.served import Served


@pytest.fixture
def data_dir(tmp_path):
    """Return a directory with the short texts only; the test split is the one that the run was tested on."""
    small.write_data(tmp_path / "data" / "banking77", train=48)
    return tmp_path / "data"


@pytest.fixture
def served(tmp_path):
    """Return the run as it is served, with nothing for the peers; a test may change its directories."""
    shutil.copytree(small.finished_run()[1] / "1", tmp_path / "served" / "model" / "1")
    (tmp_path / "served" / "peer").mkdir()
    return Served(
        model_dir=tmp_path / "served" / "model",
        peer_dir=tmp_path / "served" / "peer",
        labels=["card", "fee", "loan"],
    )


@pytest.fixture
def no_peers(tmp_path, monkeypatch):
    """Let there be no environment of the peers."""
    monkeypatch.setenv("TFBERT_PEERS_PYTHON", str(tmp_path / "none"))


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Return what lets a script stand in for the Python of the peers; it is run with a program's path and arguments."""

    def install(script):
        python = tmp_path / "python"
        python.write_text(f"#!{sys.executable}\n{script}")
        os.chmod(python, os.stat(python).st_mode | stat.S_IXUSR)
        monkeypatch.setenv("TFBERT_PEERS_PYTHON", str(python))

    return install
