"""The command compare: what it prints in a terminal and for other programs."""

import json
import sys

import pytest
from support.systems import right_except, system

from tfbert.commands import compare
from tfbert.comparison import systems
from tfbert.files import write_json


def run(*arguments):
    compare.main(compare.build_parser("compare").parse_args([*map(str, arguments)]))


@pytest.fixture
def models(monkeypatch, tmp_path):
    """Make the command compare two systems."""
    loaded = [system("a", right_except(100, *range(20))), system("b", right_except(100, 1))]
    monkeypatch.setattr(systems, "load_systems", lambda *_: loaded)
    monkeypatch.setattr(sys, "argv", ["tools/compare.py", "a", "b"])
    monkeypatch.chdir(tmp_path)


def test_json_lines_for_other_programs(models, capsys, tmp_path):
    run("a", "b", "--metric", "macro_f1", "--out", "page.html")
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [line["kind"] for line in lines] == ["model", "model", "pair"] and lines[2]["metric"] == "macro_f1"
    assert printed.err == "page.html\n" and "python tools/compare.py a b" in (tmp_path / "page.html").read_text("utf-8")


def test_a_table_in_a_terminal(models, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    run("a", "b")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["model", "accuracy"] and lines[1].split()[:2] == ["b", "99.0"]
    assert lines[4].startswith("b's accuracy is 19.0 points higher than a's (95% interval")
    assert lines[-1] == "page  compare.html" and (tmp_path / "compare.html").exists()


def test_the_list_of_runs(capsys, monkeypatch, tmp_path):
    (tmp_path / "r" / "x").mkdir(parents=True)
    write_json(tmp_path / "r" / "x" / "started.json", {"command": "tfbert train --data d"})
    monkeypatch.chdir(tmp_path)
    run("--runs", "r")
    assert json.loads(capsys.readouterr().out)["command"] == "tfbert train --data d"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    run("--runs", "r")
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "unfinished" and second.startswith("r/x  stopped, last written 0.")
    assert third == "  tfbert train --data d"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "x"], "--data: has no effect without runs or SavedModels to compare; give two or more"),
        (["--metric", "mcc"], "--metric: has no effect without runs or SavedModels"),
        (["a", "b", "--runs", "r"], "--runs r: lists runs; expected no models, or no --runs"),
    ],
)
def test_options_without_effect_are_rejected(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        run(*arguments)
