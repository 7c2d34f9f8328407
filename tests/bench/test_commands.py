"""A tool that fails says so to the table that ran it."""

import pytest

from tfbert.bench.commands import run_tool


def test_a_tool_that_fails_is_one_clear_line(tmp_path, capfd):
    with pytest.raises(ChildProcessError, match=r"^tools/train.py ended with exit code 2; what it said is above$"):
        run_tool("train", ["--data", str(tmp_path / "nothing"), "--out", str(tmp_path / "run")], {})
    assert "nothing" in capfd.readouterr().err
