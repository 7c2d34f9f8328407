"""The files of the server, parsed as TensorFlow Serving's messages, and a server that is started with them."""

import argparse
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2  # noqa: F401  (before its config, which imports it)
from tensorflow_serving.config import model_server_config_pb2

from benchmarks.processes import free_ports
from tfbert.serving.server.flags import add_flags, options_of
from tfbert.serving.server.server import Server


def flags(rendered):
    compose = yaml.safe_load((rendered / "compose" / "compose.yaml").read_text(encoding="utf-8"))
    return compose["services"]["bank-faq-1"]["command"]


def parsed(arguments):
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return options_of(vars(parser.parse_args(arguments)))


@pytest.fixture(scope="module")
def server(rendered, model_dir, tmp_path_factory):
    """Start a server with the rendered files, adapted to local paths; return its REST and gRPC ports."""
    folder = tmp_path_factory.mktemp("serving")
    for path in (rendered / "config").glob("*.config"):
        text = path.read_text(encoding="utf-8").replace("/models/Bank.FAQ_1", str(model_dir))
        (folder / path.name).write_text(text, encoding="utf-8")
    rest_port, grpc_port = free_ports(2)
    replacements = {"--port=8500": f"--port={grpc_port}", "--rest_api_port=8501": f"--rest_api_port={rest_port}"}
    arguments = [replacements.get(flag, flag).replace("/etc/serving", str(folder)) for flag in flags(rendered)]
    running = Server(parsed(arguments)[0])
    yield rest_port, grpc_port
    running.close()


def test_the_files_are_valid_server_messages(rendered):
    text = (rendered / "config" / "models.config").read_text(encoding="utf-8")
    models = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    [model] = models.model_config_list.config
    assert (model.name, model.base_path) == ("Bank.FAQ_1", "/models/Bank.FAQ_1")


def test_flags_are_known_and_consistent(rendered):
    options, _ = parsed(flags(rendered))
    options.check()
    assert (options.tensorflow_intra_op_parallelism, options.tensorflow_inter_op_parallelism) == (1, 6)


def test_metrics_are_served_at_the_scraped_path(rendered, server):
    scraped = yaml.safe_load((rendered / "config" / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    url = f"http://127.0.0.1:{server[0]}{scraped[0]['metrics_path']}"
    with urllib.request.urlopen(url, timeout=30) as response:
        assert b":tensorflow:cc:saved_model:load_attempt_count{" in response.read()


def run(path, *arguments):
    command = [sys.executable, str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_example_gets_the_expected_predictions(rendered, server):
    result = run(rendered / "examples" / "ask.py", "--address", f"http://127.0.0.1:{server[0]}")
    questions = json.loads((rendered / "examples" / "request.json").read_text(encoding="utf-8"))["instances"]
    assert (result.returncode, result.stdout) == (0, f"{len(questions)} predictions, all as expected\n")
    assert len(questions) > 1


def test_the_example_reports_different_predictions(rendered, server, tmp_path):
    for path in (rendered / "examples").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    expected = json.loads((tmp_path / "expected.json").read_text(encoding="utf-8"))
    expected["predictions"][1]["probability"] += 0.01
    expected["predictions"][0]["label"] += "?"
    (tmp_path / "expected.json").write_text(json.dumps(expected), encoding="utf-8")
    result = run(tmp_path / "ask.py", "--address", f"http://127.0.0.1:{server[0]}")
    assert result.returncode == 1
    differing_paths = [line.partition(":")[0] for line in result.stdout.splitlines()]
    assert differing_paths == ["/predictions/0/label", "/predictions/1/probability"]


def test_the_grpc_example_gets_the_same_labels(rendered, server):
    result = run(rendered / "examples" / "ask_grpc.py", "--plain", "--address", f"127.0.0.1:{server[1]}")
    assert result.returncode == 0, result.stderr
    expected = json.loads((rendered / "examples" / "expected.json").read_text(encoding="utf-8"))["predictions"]
    assert [json.loads(line)["label"] for line in result.stdout.splitlines()] == [row["label"] for row in expected]


def test_the_load_test_counts_successful_and_failed_requests(rendered, server):
    result = run(
        Path(rendered / "examples" / "load_test.py"),
        *("--address", f"http://127.0.0.1:{server[0]}", "--clients", "2", "--seconds", "1"),
    )
    assert result.returncode == 0, result.stderr
    assert "2 clients: " in result.stdout
    assert "failed: none" in result.stdout
    assert "p99" in result.stdout


def test_the_load_test_counts_refused_connections_as_failures(rendered):
    address = f"http://127.0.0.1:{free_ports(1)[0]}"
    result = run(rendered / "examples" / "load_test.py", "--address", address, "--clients", "1", "--seconds", "0.2")
    assert "0.0 requests per second; failed: {'ConnectionRefusedError'" in result.stdout
