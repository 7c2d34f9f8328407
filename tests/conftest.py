"""Shared configuration and fixtures: a quiet TensorFlow, a private cache, the default encoder and a tokenizer."""

import gc
import os
import signal
import tempfile
from pathlib import Path

import pytest
from support import machine

from tfbert.encoder import presets

# TensorFlow's C++ library reads this when it is loaded.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Shells start background jobs with SIGINT ignored, which tests of Ctrl-C and the processes that they start inherit.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    """Give the session a private cache, so that it neither uses nor leaves files in the cache of the user.

    Downloaded encoders are linked, not downloaded again. Workers of pytest-xdist inherit the cache.
    """
    if "TFBERT_CACHE" in os.environ:
        return
    user_encoders = presets.cache_dir() / "encoders"
    private = tempfile.TemporaryDirectory(prefix="tfbert-tests-")
    config.add_cleanup(private.cleanup)
    encoders = Path(private.name) / "encoders"
    encoders.mkdir()
    for folder in user_encoders.glob("minilm-*"):
        (encoders / folder.name).symlink_to(folder)
    os.environ["TFBERT_CACHE"] = private.name
    config.add_cleanup(lambda: os.environ.pop("TFBERT_CACHE"))


def pytest_report_header():
    """Describe the processor, because rounding depends on it."""
    return machine.this_machine()


def pytest_terminal_summary(terminalreporter):
    """Describe the processor next to the result if no header was printed."""
    if not terminalreporter.showheader:
        terminalreporter.write_line(machine.this_machine())


def pytest_collection_finish():
    """Exempt imported objects from garbage collection, which would otherwise scan the libraries often."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def minilm_dir() -> Path:
    """Return the directory of the default encoder. Skips tests if it is not cached and cannot be downloaded."""
    try:
        return presets.resolve("minilm").directory
    except ValueError as error:
        if "could not be downloaded" not in str(error):
            raise
        pytest.skip(f"not cached, and the download failed: {error}")


@pytest.fixture(scope="session")
def tiny_tokenizer():
    """Return the tokenizer of the encoder `tiny`."""
    from tfbert.text.tokenizer import Tokenizer

    return Tokenizer(presets.tiny_vocabulary(), lowercase=True, strip_accents=True)
