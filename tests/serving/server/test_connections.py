"""Slow clients: they are disconnected, and other clients are served meanwhile."""

import socket
import threading

import pytest
import uvicorn
from support.http_streams import GET, POST, drip, rest_of
from support.running_server import client_of, running

from tfbert.serving.server import connections
from tfbert.serving.server.connections import TimedConnection


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "HEADER_SECONDS", 0.3)
        with running() as found:
            yield found


@pytest.fixture
def stream(server):
    with socket.create_connection(("127.0.0.1", server.options.rest_api_port), timeout=30) as found:
        yield found


def test_a_connection_without_a_request_is_closed(server, stream):
    assert rest_of(stream) == b""


def test_slow_headers_are_not_waited_for(server, stream):
    thread = threading.Thread(target=drip, args=(stream, POST + b"X: " + b"a" * 200))
    thread.start()
    # Others are answered meanwhile.
    assert len(list(client_of(server).predict(["a"]))) == 1
    assert rest_of(stream) == b""
    thread.join()


def test_slow_headers_of_a_further_request_are_not_waited_for(server, stream):
    stream.sendall(GET)
    seen = b""
    while b"AVAILABLE" not in seen or not seen.rstrip().endswith(b"}"):
        seen += stream.recv(65536)
    thread = threading.Thread(target=drip, args=(stream, GET[:-2] + b"X: " + b"a" * 200))
    thread.start()
    assert rest_of(stream) == b""
    thread.join()


def test_who_does_not_read_the_answer_is_disconnected(monkeypatch):
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.5)
    size, ended = 50_000_000, threading.Event()

    async def application(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        for _ in range(50):
            await send({"type": "http.response.body", "body": bytes(size // 50), "more_body": True})
        ended.set()

    config = uvicorn.Config(application, http=TimedConnection, lifespan="off", log_config=None, log_level="critical")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            with socket.create_connection(listening.getsockname(), timeout=30) as stream:
                stream.sendall(GET)
                # Let go by the server, not by us.
                assert ended.wait(30)
                assert len(rest_of(stream)) < size
        finally:
            server.should_exit = True
            thread.join()
