"""How commands run: the recorded command line, exit codes, and messages of one line."""

import argparse
import errno
import os
import signal
import subprocess
import sys

import pytest
from support import small

from tfbert import __main__, interrupts
from tfbert.commands import program
from tfbert.data_config import NO_SPLITS

# By the way a process was started: sys.argv, the command that repeats it, the arguments of another Python process, and
# the name in usage and error messages.
STARTS = {
    "script": (
        ["tools/train.py", "--data", "my data", "--restart"],
        "python tools/train.py --data 'my data'",
        ["tools/train.py", "--data", "my data", "--restart"],
        "train",
    ),
    "module": (
        [__main__.__file__, "train", "--data", "x;y", "--restart"],
        "python -m tfbert train --data 'x;y'",
        ["-m", "tfbert", "train", "--data", "x;y", "--restart"],
        "tfbert train",
    ),
    "command": (
        ["/somewhere/bin/tfbert", "train", "--data", "train", "--restart"],
        "tfbert train --data train",
        ["-m", "tfbert", "train", "--data", "train", "--restart"],
        "tfbert train",
    ),
}


def build_parser(prog):
    parser = argparse.ArgumentParser(prog=prog)
    parser.add_argument("--data")
    parser.add_argument("--restart", action="store_true")
    return parser


@pytest.fixture
def run(monkeypatch):
    """Return a function that runs a command and returns its exit code."""
    monkeypatch.setattr("sys.argv", STARTS["command"][0])

    def run(main, **options):
        options = {"needs": lambda options: "nothing", "catches_sigterm": False} | options
        try:
            program.run("train", build_parser, main, **options)
        except SystemExit as exit_request:
            return exit_request.code
        return 0

    return run


@pytest.mark.parametrize("start", STARTS)
def test_the_command_line_of_this_process(monkeypatch, start):
    argv, repeated, python_arguments, _ = STARTS[start]
    monkeypatch.setattr("sys.argv", argv)
    assert program.command(without=("--restart",)) == repeated
    assert program.command() == f"{repeated} --restart"
    assert program.python_arguments() == python_arguments


@pytest.mark.parametrize("start", STARTS)
def test_arguments_are_parsed_and_errors_start_with_the_name(monkeypatch, capsys, run, start):
    argv, _, _, prog = STARTS[start]
    monkeypatch.setattr("sys.argv", argv)
    parsed = []

    def main(options):
        parsed.append(vars(options))
        raise ValueError("data.csv:2:\n  a mistake")

    assert run(main) == 2
    assert parsed == [{"data": argv[argv.index("--data") + 1], "restart": True}]
    assert capsys.readouterr().err == f"{prog}: data.csv:2: a mistake\n"


@pytest.mark.parametrize(
    ("start", "prog"), [([str(small.TOOLS / "predict.py")], "predict"), (["-m", "tfbert", "predict"], "tfbert predict")]
)
def test_a_mistake_in_a_fresh_process(tmp_path, start, prog):
    # Not a forked process, which might behave differently.
    command = [sys.executable, *start, "model", "--server", "localhost:1"]
    environment = os.environ | {"PYTHONPATH": str(small.ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"{prog}: give either TEXT arguments or --file\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.csv"), "x.csv: does not exist"),
        (OSError(errno.ENOSPC, "No space left on device"), "[Errno 28] No space left on device"),
        (ValueError("a\nmistake"), "a mistake"),
    ],
)
def test_an_error_of_the_user_is_reported_in_one_line(run, capsys, monkeypatch, error, line):
    def main(options):
        raise error

    assert run(main) == 2
    assert capsys.readouterr().err == f"tfbert train: {line}\n"
    monkeypatch.setenv("TFBERT_DEBUG", "1")
    with pytest.raises(type(error)):
        run(main)


def test_a_defect_has_a_traceback(run):
    def main(options):
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        run(main)


@pytest.mark.parametrize(
    ("resumes", "line"),
    [
        (True, "tfbert train: saved x; continue with: tfbert train --data train\n"),
        (False, "tfbert train: saved x\n"),
    ],
)
def test_ctrl_c_is_reported_with_the_command_that_continues(run, capsys, resumes, line):
    def main(options):
        raise interrupts.Stopped.by(KeyboardInterrupt(), "saved x")

    assert run(main, resumes=resumes) == 128 + signal.SIGINT
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("start", "suggested"),
    [
        ("script", "python tools/export.py 'a run'"),
        ("module", "python -m tfbert export 'a run'"),
        ("command", "tfbert export 'a run'"),
    ],
)
def test_another_command_is_suggested_in_the_same_form(monkeypatch, start, suggested):
    monkeypatch.setattr("sys.argv", STARTS[start][0])
    assert program.suggestion("export", "a run") == suggested


def test_options_set_config_values():
    options = argparse.Namespace(data="d.csv", encoder=None, seed=0, other=1)
    assert program.given_values(options) == {**NO_SPLITS, "data.path": "d.csv", "train.seed": 0}
    assert program.given_values(argparse.Namespace()) == {}


@pytest.mark.parametrize(
    ("given", "assignment", "option"),
    [
        ({"data": "d.csv"}, "data.test=t.csv", "data"),
        ({"train": "d.csv"}, "data.path=t.csv", "train"),
        ({"format": "csv"}, "data.format=tsv", "format"),
        ({"seed": 0}, " train.seed =1", "seed"),
    ],
)
def test_set_does_not_silently_lose_against_an_option(given, assignment, option):
    with pytest.raises(ValueError, match=f"--{option} and --set {assignment}: both set the same; expected one of them"):
        program.given_values(argparse.Namespace(**given, set=["train.epochs=1", assignment]))
