"""A complete server: version changes under load, batching, metrics, invalid clients, start and stop."""

import contextlib
import http.client
import json
import shutil
import socket
import threading
import time

import grpc
import pytest
from support import small
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

from benchmarks.processes import free_ports
from tfbert.serving.client import Client, ServerError
from tfbert.serving.input_spec import InputSpec
from tfbert.serving.server import rest_api
from tfbert.serving.server.flags import Options, options_of
from tfbert.serving.server.server import Server, _listening


@contextlib.contextmanager
def serving(model_dir, **options):
    ports = free_ports(2)
    defaults = {"model_name": "bank", "model_base_path": str(model_dir), "max_num_load_retries": 0}
    server = Server(Options(port=ports[0], rest_api_port=ports[1], **defaults | options))
    try:
        yield server, Client(f"127.0.0.1:{ports[1]}", "bank", retries=0)
    finally:
        server.close()


def grpc_address(server):
    return f"grpc://127.0.0.1:{server.options.port}"


@pytest.fixture
def model_dir(tmp_path):
    """Return a directory with version 1 of a model, to which a test may add."""
    folder = tmp_path / "bank"
    shutil.copytree(small.finished_run()[1] / "1", folder / "1")
    return folder


def add_version(model_dir, number, is_broken=False):
    aside = model_dir / f"writing-{number}"
    shutil.copytree(model_dir / "1", aside)
    if is_broken:
        (aside / "saved_model.pb").write_bytes(b"not a model")
    aside.rename(model_dir / str(number))


def status(client):
    versions = client.transport.request("GET", client.transport.path)["model_version_status"]
    return {int(version["version"]): version["state"] for version in versions}


def wait_for(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came to that")


def test_versions_change_under_load_and_no_request_fails(model_dir):
    with serving(model_dir, enable_batching=True) as (server, client):
        stop, answered, failures = threading.Event(), [], []

        def ask(number):
            texts = [f"my card {number}", "the loan rate"]
            while not stop.is_set():
                try:
                    answered.append([answer["label"] for answer in client.predict(texts)])
                except ServerError as error:
                    failures.append(error)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        add_version(model_dir, 2)
        wait_for(lambda: status(client).get(2) == "AVAILABLE" and status(client)[1] == "END")
        # One that does not load never takes the place of one that does.
        add_version(model_dir, 3, is_broken=True)
        wait_for(lambda: status(client).get(3) == "END")
        assert status(client)[2] == "AVAILABLE"
        count = len(answered)
        wait_for(lambda: len(answered) > count + 3)
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures and len(set(map(tuple, answered))) == 1
        text = server.calls.metrics.text()
        assert f'load_attempt_count{{model_path="{model_dir}/3",status="fail"}} 1' in text
        assert ":tensorflow:serving:batching_session:wrapped_run_count " in text


def test_metrics_body_limits_and_odd_clients(model_dir, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    (tmp_path / "monitoring").write_text("prometheus_config { enable: true }")
    monkeypatch.setattr(rest_api, "MOST_BODY_BYTES", 10_000)
    with serving(model_dir, monitoring_config_file=str(tmp_path / "monitoring")) as (server, client):
        assert [answer["label"] for answer in client.predict(["my card pin", "the loan rate"])] == ["card", "loan"]
        host, port = client.address.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)

        def ask(method, path, body=None):
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read().decode()

        code, text = ask("POST", "/v1/models/bank:predict", json.dumps({"instances": ["secret " * 3000]}))
        assert code == 413 and "more than 10,000 bytes" in json.loads(text)["error"]
        assert ask("GET", "/v1/models/bank")[0] == 200, "the connection goes on"
        code, text = ask("POST", "/v1/models/bank:predict", "[" * 5000)
        assert code == 400 and "Nested deeper" in json.loads(text)["error"]
        code, text = ask("GET", "/monitoring/prometheus/metrics")
        assert code == 200 and ':tensorflow:serving:request_count{model_name="bank",status="OK"}' in text
        connection.close()
        # Half a request, and a connection that says nothing: neither is in the way of others.
        with socket.create_connection((host, int(port))) as half, socket.create_connection((host, int(port))):
            half.sendall(b"POST /v1/models/bank:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n{")
            assert len(list(client.predict(["a"]))) == 1
        assert client.is_ready()
    lines = [json.loads(r.getMessage()) for r in caplog.records if r.name == "tfbert.serving.server.access"]
    assert [line["status"] for line in lines].count(413) == 1
    assert not any("secret" in record.getMessage() or "card" in record.getMessage() for record in caplog.records)


def test_reload_over_grpc_and_labels(model_dir):
    with serving(model_dir) as (server, client):
        address = f"127.0.0.1:{server.options.port}"
        with grpc.insecure_channel(address) as channel:
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            request = model_management_pb2.ReloadConfigRequest()
            for name in ("bank", "also"):
                config = request.config.model_config_list.config.add(name=name, base_path=str(model_dir))
                config.model_platform = "tensorflow"
            stub.HandleReloadConfigRequest(request, timeout=60)
            # In a second step: labels are checked before new models are loaded.
            config.version_labels["stable"] = 1
            stub.HandleReloadConfigRequest(request, timeout=60)
            also = Client(client.address, "also", retries=0)
            assert also.is_ready() and client.is_ready()
            labelled = "/v1/models/also/labels/stable:predict"
            assert "predictions" in also.transport.request("POST", labelled, b'{"instances": ["a"]}')
            del request.config.model_config_list.config[0]
            stub.HandleReloadConfigRequest(request, timeout=60)
            wait_for(lambda: not client.is_ready())
            assert also.is_ready()
            with pytest.raises(grpc.RpcError) as caught:
                stub.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), timeout=60)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_client_gets_the_same_over_grpc_as_over_rest(model_dir):
    with serving(model_dir) as (server, rest):
        over_grpc = Client(grpc_address(server), "bank", retries=0)
        assert over_grpc.is_ready() and over_grpc.metadata() == rest.metadata()
        row = {"token_ids": [2, 5, 3], "segment_ids": [0, 0, 0], "padding_mask": [1, 1, 1]}
        assert over_grpc.inputs("token_ids") == dict.fromkeys(row, InputSpec("int32", many=True))
        asked = {
            "serving_default": ["my card pin", "the loan rate for a house", "", "😀 fee 价格", b"bytes"] * 20,
            "token_ids": [row, row | {"token_ids": [2, 6, 3]}],
            "labels": [2, 0, 1],
        }
        for signature, items in asked.items():
            answers = list(over_grpc.predict(items, signature))
            assert answers == list(rest.predict(items, signature)) and len(answers) == len(items)
        kinds = {name: type(value) for name, value in next(over_grpc.predict(["a"])).items()}
        assert kinds == {"label": str, "label_id": int, "probability": float, "probabilities": list, "truncated": bool}
        absent = Client(grpc_address(server), "nobody", retries=0)
        with pytest.raises(ServerError, match="Servable not found for request") as caught:
            absent.metadata()
        assert caught.value.status == 404 and not absent.is_ready()


def test_the_tool_asks_a_server(model_dir, tmp_path):
    (tmp_path / "texts").write_text("my card pin\nthe loan rate\n")
    with serving(model_dir) as (server, client):
        rest, by_grpc = (
            small.tools()("predict", "bank", "--server", address, "--file", "texts", "--batch-size", "1", cwd=tmp_path)
            for address in (client.address, grpc_address(server))
        )
        local = small.tools()("predict", model_dir, "--file", "texts", "--batch-size", "1", cwd=tmp_path)
    assert (rest.code, by_grpc.code, local.code) == (0, 0, 0), rest.err + by_grpc.err
    assert rest.out == by_grpc.out
    for ours, theirs in zip(rest.out.splitlines(), local.out.splitlines(), strict=True):
        ours, theirs = json.loads(ours), json.loads(theirs)
        assert list(ours) == list(theirs) and ours["label"] == theirs["label"]
        assert ours["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-5)
    gone = small.tools()("predict", "bank", "a", "--server", client.address, cwd=tmp_path)
    assert gone.code == 2 and "cannot be reached" in gone.err and "Traceback" not in gone.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "--model_base_path is empty; wanted the directory of a model"),
        ({"model_base_path": "/m", "rest_api_port": 8500}, "--rest_api_port=8500 is --port too"),
        ({"model_base_path": "/m", "port": 0}, "nobody could ask"),
        ({"model_base_path": "/m", "batching_parameters_file": "b"}, "without --enable_batching=true has no effect"),
        ({"model_base_path": "/m", "grpc_max_threads": 0}, "--grpc_max_threads=0: wanted 1 or more"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options).check()


def test_a_model_that_cannot_be_loaded_or_an_address_that_is_taken(model_dir, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    shutil.copytree(model_dir / "1", broken / "1")
    (broken / "1" / "saved_model.pb").write_bytes(b"not a model")
    reason = r"Failed to start server\. Error: UNKNOWN: 1 model\(s\) did not become"
    with pytest.raises(ValueError, match=reason), serving(broken):
        pass
    with pytest.raises(ValueError, match="to have an absolute path"), serving("relative"):
        pass
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"--rest_api_port={port}: cannot listen on 127.0.0.1:{port}"):
            Server(Options(port=0, rest_api_port=port, model_base_path=str(model_dir)))


def test_flags_that_have_no_effect_are_known():
    import argparse

    from tfbert.serving.server.flags import add_flags

    parser = argparse.ArgumentParser()
    add_flags(parser)
    said = ["--port=1", "--enable_batching", "--enable_model_warmup=false", "--num_load_threads=4", "--model_name", "x"]
    options, ignored = options_of(vars(parser.parse_args(said)))
    assert (options.port, options.enable_batching, options.enable_model_warmup, options.model_name) == (
        1,
        True,
        False,
        "x",
    )
    assert ignored == ["num_load_threads"]


def test_small_answers_are_not_held_back():
    # What asyncio asks before it turns Nagle's algorithm off.
    with contextlib.closing(_listening(Options(rest_api_port=0))) as listening:
        assert listening.proto == socket.IPPROTO_TCP
