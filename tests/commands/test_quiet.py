"""Quiet imports: startup messages appear only if an import fails."""

import subprocess
import sys

import pytest
from support import small

PROGRAM = """
import os, sys, tfbert.imports
from tfbert.commands import quiet

def load():
    os.write(2, b"startup message\\n")
    if {fails}:
        raise ImportError("libmissing.so")

tfbert.imports.import_tensorflow_without_keras = load
try:
    quiet.import_quietly(with_keras=False)
except ImportError as error:
    print(error)
os.write(2, b"later message\\n")
"""


@pytest.mark.parametrize(
    ("fails", "out", "err"),
    [(False, "", "later message\n"), (True, "libmissing.so\n", "startup message\nlater message\n")],
)
def test_startup_messages_are_shown_only_if_the_import_fails(fails, out, err):
    command = [sys.executable, "-c", PROGRAM.format(fails=fails)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=small.ROOT, check=True)
    assert (result.stdout, result.stderr) == (out, err)
