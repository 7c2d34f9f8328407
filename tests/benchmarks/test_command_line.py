"""The command line of the benchmarks: options and error messages."""

import subprocess
import sys

import pytest
from support import small

from benchmarks.__main__ import BENCHMARKS, build_parser, main

# Options that scripts of users depend on.
OPTIONS = {"what", "--data", "--only", "--out", "--seeds", "--repeat", "--model", "--seconds", "--set", "--against"}
OPTIONS |= {"--max-examples"}


def run(folder, *arguments):
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments), "--data", str(folder / "data")]
    command += ["--out", str(folder / "out")]
    return subprocess.run(command, cwd=small.ROOT, capture_output=True, text=True)


def test_options_do_not_change_and_have_help():
    actions = [action for action in build_parser()._actions if "--help" not in action.option_strings]
    assert {name for action in actions for name in (action.option_strings or [action.dest])} == OPTIONS
    assert all(action.help for action in actions)
    assert set(BENCHMARKS) == {
        "quality", "defaults", "trust", "doubtful", "robustness", "train", "serve", "explain", "audit",
        "load",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quality", "--data", "nowhere"], "--data nowhere: is not a directory"),
        (["serve", "--data", ".", "--seeds", "0"], "--seeds 0: expected 1 or more"),
        (["load", "--data", ".", "--seconds", "0.5"], "--seconds 0.5: expected 1 or more"),
        (["quality", "--data", ".", "--only", "bank"], "--only 'bank' is not one of banking77, "),
        (["train", "--data", ".", "--only", "sst2"], "--only 'sst2' is not one of banking77, bbc_news, wnut17"),
        (["serve", "--data", "."], "banking77: does not exist; it holds the texts to predict"),
    ],
)
def test_an_invalid_argument_is_reported(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as raised:
        main(build_parser().parse_args(arguments))
    assert message in str(raised.value)


def test_a_model_of_other_data_is_rejected_before_anything_is_measured(tmp_path):
    run_dir = small.finished_run()[0]
    folder = small.write_data(tmp_path / "data" / "banking77")
    for path in folder.glob("*.csv"):
        path.write_text(path.read_text().replace(",fee", ",charge"))
    earlier = tmp_path / "out" / "served" / "exports" / "earlier"
    earlier.mkdir(parents=True)
    result = run(tmp_path, "serve", "--model", run_dir)
    message = f"--model {run_dir}: does not know the label 'charge' of the test texts of banking77"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"benchmarks: {message}\n")
    assert not (tmp_path / "out" / "serve").exists()
    assert not list((tmp_path / "out").rglob("saved_model.pb")) and earlier.is_dir()
