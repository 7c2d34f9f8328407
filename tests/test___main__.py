"""The command `tfbert`: its list of commands, and the command that the first argument names."""

import pytest
from support import small

import tfbert
from tfbert import __main__


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["tfbert", *arguments])
    try:
        __main__.main()
    except SystemExit as exit_request:
        return exit_request.code
    return 0


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_all_commands_are_listed(monkeypatch, capsys, arguments):
    assert run(monkeypatch, *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = lines[lines.index("commands:") + 1 :]
    listed = dict(line.split(maxsplit=1) for line in listed[: listed.index("")])
    assert listed == __main__.COMMANDS


@pytest.mark.parametrize("name", __main__.COMMANDS)
def test_the_first_argument_names_a_command(monkeypatch, name):
    calls = []
    monkeypatch.setattr(small.load_command(name), "run", lambda: calls.append(name))
    assert run(monkeypatch, name, "--help") == 0
    assert calls == [name]


def test_the_version(monkeypatch, capsys):
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"tfbert {tfbert.__version__}\n"


def test_an_unknown_command_is_an_error(monkeypatch, capsys):
    assert run(monkeypatch, "trian") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == "tfbert: error: 'trian' is not a command; did you mean 'train'?"
