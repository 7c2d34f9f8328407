"""The command serve: errors before a model is loaded."""

import socket

import pytest
from support import small

from benchmarks.processes import free_ports


def test_a_broken_config_file_is_told_in_the_words_of_the_real_server(tmp_path):
    (tmp_path / "models").write_text("model_config_list {\n  config { nam: 'x' }\n}")
    (port,) = free_ports(1)
    found = small.tools()("serve", f"--model_config_file={tmp_path / 'models'}", f"--port={port}", cwd=tmp_path)
    assert found.code == 2 and found.out == ""
    start = f"serve: Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '{tmp_path}/models' (2:12"
    assert found.err.startswith(start) and found.err.count("\n") == 1
    missing = small.tools()("serve", "--model_config_file=none", f"--port={port}", cwd=tmp_path)
    assert missing.code == 2
    assert missing.err == "serve: Failed to start server. Error: NOT_FOUND: none; No such file or directory\n"


@pytest.mark.parametrize("flag", ["port", "rest_api_port"])
def test_a_port_in_use_is_found_before_a_model_is_loaded(tmp_path, flag):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = free_ports(1)[0]
        ports = {"port": other, "rest_api_port": 0} | {flag: port}
        # It would wait for ever for a version of the model.
        arguments = [f"--{name}={number}" for name, number in ports.items()]
        found = small.tools()("serve", f"--model_base_path={tmp_path}", *arguments, cwd=tmp_path)
    assert found.code == 2
    expected = f"serve: --{flag}={port}: cannot listen on 127.0.0.1:{port} (Address already in use); choose a free port"
    assert found.err == expected + "\n"
