"""The end of training and of a search: one process exports, and sample predictions are short."""

import pytest
from support import small

from tfbert.files import REPORT, locked, write_json
from tfbert.models.saved_run import mark_exported
from tfbert.training.run_dir import opened


def test_long_lists_of_a_sample_prediction_are_not_printed(monkeypatch):
    exporting = small.load_command("exporting")
    version_dir = small.finished_run()[1] / "1"
    [(item, outputs)] = exporting.predict(version_dir, [{"text": "my card pin"}])
    assert item == {"text": "my card pin"} and outputs["label"] == "card" and len(outputs["probabilities"]) == 3
    monkeypatch.setattr(exporting, "_MAX_LIST", 2)
    [(_, printed)] = exporting.predict(version_dir, [{"text": "my card pin"}])
    assert printed.keys() == outputs.keys() - {"probabilities"}


def test_one_process_exports_a_run(tmp_path):
    exporting = small.load_command("exporting")
    with opened(tmp_path / "run", "mine", exports=True):
        write_json(tmp_path / "run" / REPORT, {})
    with (
        locked(tmp_path / "run", "exporting it"),
        pytest.raises(ValueError, match="run: another process is exporting it"),
    ):
        exporting.export(tmp_path / "run", "model", tmp_path / "run")
    mark_exported(tmp_path / "run")
    with pytest.raises(ValueError, match="run: has been exported by another process$"):
        exporting.export(tmp_path / "run", "model", tmp_path / "run")
