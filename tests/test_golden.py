"""Numbers of small runs of every task, and what their models return, are those that were recorded.

`TFBERT_RECORD_GOLDEN=1 python -m pytest tests/test_golden.py` records the files of `tests/golden/` that do not exist.
To replace a file, delete it first, and say in the commit which numbers or outputs are meant to change, and why.
"""

import json
import os

import pytest
from support import golden_runs

from tfbert.tasks.base import list_tasks

TOLERANCE = 1e-4
# Other processors round differently. The head starts where an iterative solver stops, which rounding decides, and
# weights drift apart from there, until a label or a span with a close second differs. Then only first losses are
# compared.
OTHER_PROCESSOR_TOLERANCE = 5e-3
NUM_FIRST_LOSSES = 5


def test_every_task_has_runs():
    assert sorted(golden_runs.RUNS) == list_tasks()


@pytest.mark.parametrize("task", list_tasks())
def test_runs_and_outputs_are_those_recorded(task, tmp_path):
    check(golden_runs.GOLDEN_DIR / f"{task}.json", task, golden_runs.RUNS[task], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("task", list_tasks())
def test_runs_of_the_default_encoder_are_those_recorded(task, minilm_dir, tmp_path):
    check(golden_runs.GOLDEN_DIR / "minilm" / f"{task}.json", task, golden_runs.MINILM_RUNS[task], tmp_path)


def check(path, task, runs, folder):
    """Do the runs of a task and compare them with its golden file, or record the file."""
    is_recording = not path.exists() and bool(os.environ.get("TFBERT_RECORD_GOLDEN"))
    assert is_recording or path.exists(), f"there is no {path}; record it with TFBERT_RECORD_GOLDEN=1"
    measured = golden_runs.measure(task, runs, folder)
    if is_recording:
        path.parent.mkdir(exist_ok=True)
        path.write_text(golden_runs.to_text(measured), encoding="utf-8")
        pytest.skip(f"recorded {path}")
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert measured["runs"].keys() == stored["runs"].keys()
    if measured["processor"] == stored["processor"]:
        assert list(golden_runs.differences(measured["runs"], stored["runs"], TOLERANCE)) == []
        return
    first, stored_first = (
        {name: run["losses"][:NUM_FIRST_LOSSES] for name, run in each["runs"].items()} for each in (measured, stored)
    )
    assert list(golden_runs.differences(first, stored_first, OTHER_PROCESSOR_TOLERANCE)) == []
    pytest.skip(f"only first losses were compared: recorded on another processor, {stored['processor']}")


@pytest.mark.parametrize(
    ("found", "is_different"),
    [
        ({"label": "fee", "probability": [0.5, 0.25005], "start": 3}, False),
        ({"label": "fee", "probability": [0.5, 0.2502], "start": 3}, True),
        ({"label": "fees", "probability": [0.5, 0.25], "start": 3}, True),
        ({"label": "fee", "probability": [0.5, 0.25], "start": 4}, True),
        ({"label": "fee", "probability": [0.5, 0.25], "start": 3.0}, True),
        ({"label": "fee", "probability": [0.5, 0.25, 0.25], "start": 3}, True),
        ({"label": "fee", "probability": [0.5, float("nan")], "start": 3}, True),
        ({"label": "fee", "probability": [0.5, 0.25]}, True),
        ({"label": "fee", "probability": [0.5, 0.25], "start": 3, "end": 4}, True),
    ],
)
def test_differences(found, is_different):
    stored = {"label": "fee", "probability": [0.5, 0.25], "start": 3}
    assert bool(list(golden_runs.differences(found, stored, TOLERANCE))) is is_different
