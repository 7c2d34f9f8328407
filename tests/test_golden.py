"""Golden tests: losses, scores and model outputs of small runs of every task equal the recorded ones.

`TFBERT_RECORD_GOLDEN=1 python -m pytest tests/test_golden.py` records the runs that are missing in `tests/golden/`.
To replace a file, delete it first, and state in the commit which numbers or outputs are meant to change, and why.
"""

import json
import os

import pytest
from support import golden_runs, machine
from support.golden_runs import GOLDEN_DIR

from tfbert.tasks.base import list_tasks

TOLERANCE = 1e-4
# Other processors round differently. The initial head depends on where an iterative solver stops, which depends on
# rounding, and the weights diverge from there, until some predicted label or span differs. Only the first losses are
# compared then.
OTHER_PROCESSOR_TOLERANCE = 5e-3
NUM_FIRST_LOSSES = 5


def test_every_task_has_runs():
    assert sorted(golden_runs.RUNS) == list_tasks()


FAST = ("classification", "default")
CASES = [
    pytest.param(task, name, marks=() if (task, name) == FAST else pytest.mark.slow)
    for task, runs in golden_runs.RUNS.items()
    for name in runs
]


@pytest.mark.parametrize(("task", "name"), CASES)
def test_runs_and_outputs_equal_the_recorded_ones(task, name, tmp_path):
    check(GOLDEN_DIR / f"{task}.json", task, name, golden_runs.RUNS[task][name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("task", list_tasks())
def test_runs_of_the_default_encoder_equal_the_recorded_ones(task, minilm_dir, tmp_path):
    check(GOLDEN_DIR / "minilm" / f"{task}.json", task, "minilm", golden_runs.MINILM_RUNS[task]["minilm"], tmp_path)


def check(path, task, name, run, folder):
    """Compare a run of a task with its golden file, or record it if the file lacks it."""
    processor = machine.this_machine()
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"processor": processor, "runs": {}}
    is_recording = name not in stored["runs"] and bool(os.environ.get("TFBERT_RECORD_GOLDEN"))
    assert is_recording or name in stored["runs"], f"{path} has no {name}; record it with TFBERT_RECORD_GOLDEN=1"
    measured = golden_runs.measure(task, {name: run}, folder)[name]
    if is_recording:
        assert stored["processor"] == processor, f"{path} was recorded on another processor"
        stored["runs"][name] = measured
        path.write_text(golden_runs.to_text(stored), encoding="utf-8")
        pytest.skip(f"recorded {name} in {path}")
    recorded = stored["runs"][name]
    if processor == stored["processor"]:
        assert list(golden_runs.differences(measured, recorded, TOLERANCE)) == []
        return
    first_losses, recorded_losses = (run_values["losses"][:NUM_FIRST_LOSSES] for run_values in (measured, recorded))
    assert list(golden_runs.differences(first_losses, recorded_losses, OTHER_PROCESSOR_TOLERANCE)) == []
    pytest.skip(f"only first losses were compared: recorded on another processor, {stored['processor']}")


@pytest.mark.parametrize(
    ("measured", "is_different"),
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
def test_differences(measured, is_different):
    stored = {"label": "fee", "probability": [0.5, 0.25], "start": 3}
    assert bool(list(golden_runs.differences(measured, stored, TOLERANCE))) is is_different
