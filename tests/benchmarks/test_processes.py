"""Messages about processes that fail, and about a missing environment."""

import sys

import pytest

from benchmarks.processes import Worker, free_ports, output_of, peers_python, run, server, tool_command


def test_a_failing_tool_is_reported_in_one_line(tmp_path, capfd):
    command = tool_command("train", ["--data", str(tmp_path / "nothing")], {"train.epochs": "1"})
    assert command[-2:] == ["--set", "train.epochs=1"]
    with pytest.raises(ChildProcessError, match=r"train\.py --data ended with exit code 2; its message is above$"):
        run(command)
    assert "nothing" in capfd.readouterr().err


def test_a_server_that_does_not_start_is_reported_with_its_log(tmp_path):
    (port,) = free_ports(1)
    command = ["sh", "-c", "echo the reason >&2; exit 1"]
    with pytest.raises(ChildProcessError, match=r"does not answer on port \d+; see .*server\.log$"):  # noqa: SIM117
        with server(command, port, "/", tmp_path / "server.log"):
            pass
    assert (tmp_path / "server.log").read_text() == "the reason\n"


def test_a_worker_responds_until_it_ends():
    program = "print('{}', flush=True); print(input(), flush=True); input(); raise SystemExit(3)"
    with Worker([sys.executable, "-c", program]) as worker:
        assert worker(number=1) == {"number": 1}
        with pytest.raises(ChildProcessError, match="ended with exit code 3$"):
            worker(number=2)


def test_a_missing_environment_is_logged(no_peers, caplog):
    with caplog.at_level("INFO"):
        assert peers_python() is None
    assert "`make peers` builds their environment" in caplog.text


def test_the_output_of_a_command(capfd):
    assert output_of([sys.executable, "-c", "print('{}')"]) == "{}\n"
    with pytest.raises(ChildProcessError, match="ended with exit code 3$"):
        output_of([sys.executable, "-c", "raise SystemExit(3)"])
