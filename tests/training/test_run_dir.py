"""State of a run directory between processes: a pending export, and the data of the run."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from tfbert.files import REPORT, STARTED, read_json
from tfbert.interrupts import Stopped
from tfbert.models.saved_run import mark_exported
from tfbert.training.run_dir import check_data, find_unfinished, opened


@dataclass(frozen=True)
class Split:
    """The attributes of a split that are stored."""

    path: Path
    sha256: str


def finish(run_dir, fingerprint="mine", exports=True):
    with opened(run_dir, fingerprint, exports):
        (run_dir / REPORT).write_text("{}")


def test_a_finished_run_is_opened_again_until_it_is_exported(tmp_path, caplog):
    caplog.set_level("INFO")
    run_dir = tmp_path / "2026-aaaa"
    finish(run_dir)
    assert find_unfinished(tmp_path, "aaaa", "mine") == run_dir
    with opened(run_dir, "mine", exports=True):
        pass
    assert f"{run_dir}: training is finished; only the export is pending" in caplog.text
    mark_exported(run_dir)
    with pytest.raises(ValueError, match="holds a finished run"), opened(run_dir, "mine", exports=True):
        pass
    assert find_unfinished(tmp_path, "aaaa", "mine") != run_dir


@pytest.mark.parametrize(("fingerprint", "exports"), [("other", True), ("", True), ("mine", False)])
def test_another_run_or_one_without_an_export_stays_closed(tmp_path, fingerprint, exports):
    run_dir = tmp_path / "2026-aaaa"
    finish(run_dir, exports=exports)
    with pytest.raises(ValueError, match="holds a finished run"), opened(run_dir, fingerprint, exports):
        pass
    assert find_unfinished(tmp_path, "aaaa", fingerprint) != run_dir


def test_the_command_that_resumes_a_run_is_kept_until_it_is_finished(tmp_path):
    with pytest.raises(RuntimeError), opened(tmp_path, command="tfbert train"):
        raise RuntimeError
    assert read_json(tmp_path / STARTED) == {"command": "tfbert train"}
    finish(tmp_path)
    assert not (tmp_path / STARTED).exists()


def test_a_run_resumed_without_an_export_does_not_await_one(tmp_path):
    with pytest.raises(RuntimeError), opened(tmp_path, "mine", exports=True):
        raise RuntimeError
    finish(tmp_path, exports=False)
    with pytest.raises(ValueError, match="holds a finished run"), opened(tmp_path, "mine", exports=True):
        pass


def test_the_message_after_an_interrupt_names_the_checkpoint(tmp_path):
    with pytest.raises(Stopped) as stopped, opened(tmp_path):
        raise KeyboardInterrupt
    assert (stopped.value.message, stopped.value.exit_code) == (f"stopped; {tmp_path} holds no checkpoint", 130)
    for seed, age in (("seed-0", 500), ("seed-1", 60)):
        path = tmp_path / seed / "checkpoint.safetensors"
        path.parent.mkdir()
        path.touch()
        changed = path.stat().st_mtime - age
        os.utime(path, (changed, changed))
    with (
        pytest.raises(
            Stopped, match=r"the last checkpoint is .*seed-1/checkpoint\.safetensors, written \d+ seconds ago"
        ),
        opened(tmp_path),
    ):
        raise Stopped(number=signal.SIGTERM)
    with pytest.raises(Stopped, match="^saved it$") as stopped, opened(tmp_path):
        raise Stopped("saved it", signal.SIGTERM)
    assert stopped.value.exit_code == 143


def test_changed_data_are_reported(tmp_path):
    train, test = (Split(Path(name), "1") for name in ("train.csv", "test.csv"))
    check_data(tmp_path, {"train": train, "test": test})
    check_data(tmp_path, {"train": train, "test": test})
    # The same file at another path is not other data.
    check_data(tmp_path, {"train": Split(Path("there/train.csv"), "1"), "test": test})
    for splits, message in (
        (
            {"train": train, "test": Split(Path("test.csv"), "2")},
            rf"test\.csv: has changed since {tmp_path} was started",
        ),
        ({"train": train}, r"test\.csv: was the test split and is missing since"),
        (
            {"train": train, "test": test, "validation": Split(Path("v.csv"), "3")},
            r"v\.csv: was added, as the validation",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            check_data(tmp_path, splits)
    assert read_json(tmp_path / "data.json")["test"]["sha256"] == "1"
