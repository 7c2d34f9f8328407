"""The client: what it sends, what it sends again, and what it does not."""

import http.server
import json
import socket
import ssl
import threading
from collections import deque

import pytest
from support.certificates import CERTIFICATE, KEY
from support.json_handler import JsonHandler

from tfbert.serving import client as clients
from tfbert.serving.client import Client, ServerError


class Handler(JsonHandler):
    """Says what the test has put into `server.answers`, and echoes where there is nothing."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, body))
        self.server.keys.append(self.headers["x-api-key"])
        self.answer({"predictions": [{"of": instance} for instance in body["instances"]]})

    def do_GET(self):
        self.server.seen.append((self.path, None))
        self.answer({"metadata": {"signature_def": {}}})

    def answer(self, usual):
        status, said = self.server.answers.popleft() if self.server.answers else (200, usual)
        if status is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_json(said, status)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(clients.time, "sleep", lambda seconds: waits.append(seconds))
    waits = []
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.seen, found.answers, found.waits, found.keys = [], deque(), waits, []
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


def client(server, **options):
    return Client(f"127.0.0.1:{server.server_port}", "bank cards", **options)


def test_texts_go_in_batches_and_answers_come_in_order(server):
    items = ["a", {"question": "b", "context": ["c", b"\xff"]}, b"d", "e", "f"]
    answers = client(server, batch_size=2, version=7).predict(iter(items), "labels")
    sent = ["a", {"question": "b", "context": ["c", {"b64": "/w=="}]}, {"b64": "ZA=="}, "e", "f"]
    assert [answer["of"] for answer in answers] == sent
    path = "/v1/models/bank%20cards/versions/7:predict"
    assert server.seen == [
        (path, {"signature_name": "labels", "instances": sent[start : start + 2]}) for start in (0, 2, 4)
    ]


def test_headers_are_sent_with_every_request(server):
    list(client(server, batch_size=1, headers={"x-api-key": "secret"}).predict(["a", "b"]))
    list(client(server).predict(["c"]))
    assert server.keys == ["secret", "secret", None]


def test_tls(server, tmp_path):
    (tmp_path / "key").write_text(KEY, encoding="utf-8")
    (tmp_path / "certificate").write_text(CERTIFICATE, encoding="utf-8")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    address = f"https://localhost:{server.server_port}"
    trusting = Client(address, ca_path=str(tmp_path / "certificate"))
    assert list(trusting.predict(["a"])) == [{"of": "a"}]
    with pytest.raises(ServerError, match="cannot be reached .*certificate verify failed"):
        list(Client(address, retries=0).predict(["a"]))


def test_what_was_turned_away_is_sent_again(server):
    server.answers.extend([(503, {"error": "the queue is full"}), (429, {"error": "slow down"})])
    assert list(client(server).predict(["a"])) == [{"of": "a"}]
    assert len(server.seen) == 3 and len(server.waits) == 2
    assert 0.1 <= server.waits[0] <= 0.2 <= server.waits[1] <= 0.4
    server.answers.extend([(503, {"error": "the queue is full"})] * 4)
    with pytest.raises(ServerError, match="the queue is full") as caught:
        list(client(server).predict(["a"]))
    assert caught.value.status == 503 and len(server.seen) == 7


@pytest.mark.parametrize("status", [400, 404, 500, 504])
def test_what_may_have_been_answered_is_not_sent_again(server, status):
    server.answers.append((status, {"error": "so it is"}))
    with pytest.raises(ServerError, match="so it is") as caught:
        list(client(server).predict(["a"]))
    assert (caught.value.status, len(server.seen)) == (status, 1)


def test_a_connection_that_breaks_is_an_error(server):
    server.answers.append((None, {}))
    with pytest.raises(ServerError, match="no answer"):
        list(client(server).predict(["a"]))
    assert len(server.seen) == 1


def test_nobody_there(server, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    absent = Client(f"127.0.0.1:{port}", retries=2)
    with pytest.raises(ServerError, match=f"127.0.0.1:{port}: cannot be reached"):
        list(absent.predict(["a"]))
    assert len(server.waits) == 2 and not absent.is_ready()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, b"<html>"), "answered what is no JSON object"),
        ((200, b"[1]"), "answered what is no JSON object"),
        ((200, {"predictions": []}), "answered 0 of 1 items"),
        ((502, b"<html>"), "HTTP status 502"),
    ],
)
def test_odd_answers(server, answer, message):
    server.answers.append(answer)
    with pytest.raises(ServerError, match=message):
        list(client(server).predict(["a"]))


def test_metadata_and_readiness(server):
    assert client(server).metadata() == {"metadata": {"signature_def": {}}}
    assert client(server).is_ready()
    server.answers.append((404, {"error": "Servable not found for request: Latest(bank cards)"}))
    assert not client(server).is_ready()
    assert {path for path, _ in server.seen} == {"/v1/models/bank%20cards/metadata"}
