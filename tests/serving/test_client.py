"""The client: batches, headers and retries."""

import socket

import pytest
from support.json_server import EchoHandler, running

from tfbert.serving import client as clients
from tfbert.serving.client import Client, ServerError
from tfbert.serving.input_spec import InputSpec


@pytest.fixture
def server(monkeypatch):
    waits = []
    monkeypatch.setattr(clients.time, "sleep", waits.append)
    with running(EchoHandler) as echo:
        echo.waits = waits
        yield echo


def client(server, **options):
    return Client(f"127.0.0.1:{server.server_port}", "bank cards", **options)


def test_items_are_sent_in_batches_and_predictions_are_in_order(server):
    items = ["a", {"question": "b", "context": ["c", b"\xff"]}, b"d", "e", "f"]
    predictions = client(server, batch_size=2, version=7).predict(iter(items), "labels")
    sent = ["a", {"question": "b", "context": ["c", {"b64": "/w=="}]}, {"b64": "ZA=="}, "e", "f"]
    assert [prediction["of"] for prediction in predictions] == sent
    path = "/v1/models/bank%20cards/versions/7:predict"
    assert server.requests == [
        (path, {"signature_name": "labels", "instances": sent[start : start + 2]}) for start in (0, 2, 4)
    ]


def test_headers_are_sent_with_every_request(server):
    list(client(server, batch_size=1, headers={"x-api-key": "secret"}).predict(["a", "b"]))
    list(client(server).predict(["c"]))
    assert [headers["x-api-key"] for headers in server.headers] == ["secret", "secret", None]


def test_rejected_requests_are_repeated(server):
    server.responses.extend([(503, {"error": "the queue is full"}), (429, {"error": "slow down"})])
    assert list(client(server).predict(["a"])) == [{"of": "a"}]
    assert len(server.requests) == 3 and len(server.waits) == 2
    assert 0.1 <= server.waits[0] <= 0.2 <= server.waits[1] <= 0.4
    server.responses.extend([(503, {"error": "the queue is full"})] * 4)
    with pytest.raises(ServerError, match="the queue is full") as caught:
        list(client(server).predict(["a"]))
    assert caught.value.status == 503 and len(server.requests) == 7


@pytest.mark.parametrize("status", [400, 404, 500, 504])
def test_requests_that_may_have_been_processed_are_not_repeated(server, status):
    server.responses.append((status, {"error": "so it is"}))
    with pytest.raises(ServerError, match="so it is") as caught:
        list(client(server).predict(["a"]))
    assert (caught.value.status, len(server.requests)) == (status, 1)


def test_an_unreachable_server(server, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    absent = Client(f"127.0.0.1:{port}", retries=2)
    with pytest.raises(ServerError, match=f"127.0.0.1:{port}: cannot be reached"):
        list(absent.predict(["a"]))
    assert len(server.waits) == 2 and not absent.is_ready()


def test_metadata_and_readiness(server):
    assert client(server).metadata() == {"metadata": {"signature_def": {}}}
    assert client(server).is_ready()
    server.responses.append((404, {"error": "Servable not found for request: Latest(bank cards)"}))
    assert not client(server).is_ready()
    assert {path for path, _ in server.requests} == {"/v1/models/bank%20cards/metadata"}


def test_inputs_have_the_dtypes_and_ranks_of_the_signature(server):
    infos = {
        "title": {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1"}]}},
        "prices": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "-1"}]}},
    }
    signatures = {"signature_def": {"signature_def": {"serving_default": {"inputs": infos}}}}
    server.responses.append((200, {"metadata": signatures}))
    assert client(server).inputs() == {"prices": InputSpec("float32", many=True), "title": InputSpec("string")}


def test_numbers_are_sent_as_json_numbers(server):
    assert list(client(server).predict([{"price": 2.5, "title": "a"}])) == [{"of": {"price": 2.5, "title": "a"}}]
