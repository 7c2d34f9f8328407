"""What tests share: a quiet TensorFlow, a cache of their own, and the vocabulary of the default encoder."""

import gc
import os
import re
import tempfile
from pathlib import Path

import machine
import pytest

from tfbert.encoder import presets

CONTRACT = "test_contract.py"
# In minutes of a process or more.
SLOWEST = {CONTRACT, "test_run.py", "test_matching.py", "test_trainer.py", "test_serve.py"}
# Read by TensorFlow's C++ part when it is loaded.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_configure(config):
    """Give the session a private cache, so that it neither finds what earlier runs tokenized nor leaves anything.

    Encoders that the user has downloaded are linked, not downloaded again. Workers of pytest-xdist inherit the cache.
    """
    if "TFBERT_CACHE" in os.environ:
        return
    theirs = presets.cache_dir() / "encoders"
    private = tempfile.TemporaryDirectory(prefix="tfbert-tests-")
    config.add_cleanup(private.cleanup)
    encoders = Path(private.name) / "encoders"
    encoders.mkdir()
    for folder in theirs.glob("minilm-*"):
        (encoders / folder.name).symlink_to(folder)
    os.environ["TFBERT_CACHE"] = private.name
    config.add_cleanup(lambda: os.environ.pop("TFBERT_CACHE"))


def pytest_report_header():
    """Say on what kind of processor the tests run, as how numbers are rounded depends on it."""
    return machine.this_machine()


def pytest_terminal_summary(terminalreporter):
    """Say so beside the result where no header was printed."""
    if not terminalreporter.showheader:
        terminalreporter.write_line(machine.this_machine())


def pytest_collection_modifyitems(items):
    """Let what takes longest begin first, so that no process works on alone while the others have ended."""
    items.sort(key=lambda item: item.path.name not in SLOWEST)


def pytest_collection_finish():
    """Keep Python's garbage collector away from what was imported: libraries stay, and it looks through them often."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let `--dist loadfile` take files in that order, and of the contract the tests of one task as a file."""
    from xdist.scheduler import LoadFileScheduling

    if config.getvalue("dist") != "loadfile":
        return None

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            path, _, rest = nodeid.partition("::")
            task = re.search(r"\[(\w+)", rest) if path.endswith(CONTRACT) else None
            return f"{path}::{task[1]}" if task else path

    config.option.loadscopereorder = False
    return Scheduling(config, log)


@pytest.fixture(scope="session")
def minilm_dir() -> Path:
    """Return the directory of the default encoder; skips where it is neither in the cache nor to be had."""
    try:
        return presets.resolve("minilm").directory
    except ValueError as error:
        if "could not be downloaded" not in str(error):
            raise
        pytest.skip(f"neither in the cache nor to be had: {error}")


@pytest.fixture(scope="session")
def tiny_tokenizer():
    """Return the tokenizer of the encoder `tiny`."""
    from tfbert.text.tokenizer import Tokenizer

    return Tokenizer(presets.tiny_vocabulary(), lowercase=True, strip_accents=True)
