"""Exports of this TensorFlow load in the one that TensorFlow Serving 2.20 is built from, and answer alike."""

import json
import os
import subprocess
from pathlib import Path

import pytest

PYTHON = os.environ.get("TFBERT_SERVING_PYTHON")


@pytest.mark.skipif(not PYTHON, reason="TFBERT_SERVING_PYTHON names no Python that has TensorFlow 2.20.0")
def test_export_answers_alike(version_dir, finished, expected, tmp_path):
    task = tmp_path / "expected.json"
    task.write_text(json.dumps({"texts": finished.samples, "expected": expected}), encoding="utf-8")
    script = Path(__file__).with_name("older_tensorflow.py")
    # Nothing of this environment may be found by the other.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [PYTHON, script, version_dir, task], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["tensorflow"].startswith("2.20.")
    assert found["session"] < 1e-5
    assert found["function"] < 1e-5
    assert found["num_batches"] > 0
