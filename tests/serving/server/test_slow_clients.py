"""Clients that take their time, on purpose or not: they are disconnected, and others are answered meanwhile."""

import contextlib
import json
import socket
import threading
import time

import grpc
import pytest
import small
import uvicorn

from benchmarks.processes import free_ports
from tfbert.serving.client import Client
from tfbert.serving.server import connections, grpc_api, grpc_messages, rest_api
from tfbert.serving.server.connections import TimedConnection
from tfbert.serving.server.flags import Options
from tfbert.serving.server.server import Server

POST = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /v1/models/m HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def server():
    ports = free_ports(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "HEADER_SECONDS", 0.5)
        patch.setattr(rest_api, "BODY_SECONDS", 0.5)
        patch.setattr(rest_api, "_LINGER_SECONDS", 0.2)
        patch.setattr(rest_api, "MOST_BODY_BYTES", 100_000)
        patch.setattr(grpc_api, "HANDSHAKE_SECONDS", 1)
        patch.setattr(grpc_messages, "MESSAGE_SECONDS", 3.0)
        model_dir = small.finished_run()[1].resolve()
        options = {"model_name": "m", "model_base_path": str(model_dir), "grpc_max_threads": 2}
        found = Server(Options(port=ports[0], rest_api_port=ports[1], **options))
        yield found
        found.close()


@pytest.fixture
def stream(server):
    with socket.create_connection(("127.0.0.1", server.options.rest_api_port), timeout=30) as found:
        yield found


def drip(stream, data):
    """Send byte by byte, which takes longer than the server allows, until it hangs up."""
    with contextlib.suppress(OSError):
        for byte in data:
            stream.sendall(bytes([byte]))
            time.sleep(0.05)


def rest_of(stream):
    """Return all that comes until the server hangs up."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := stream.recv(65536):
            parts.append(part)
    return b"".join(parts)


def answer_of(stream):
    """Return status, header lines and body of an answer after which the server hangs up."""
    head, _, body = rest_of(stream).partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    return int(status.split()[1]), headers, json.loads(body)


def test_a_connection_without_a_request_is_closed(server, stream):
    assert rest_of(stream) == b""


def test_slow_headers_are_not_waited_for(server, stream):
    thread = threading.Thread(target=drip, args=(stream, POST + b"X: " + b"a" * 200))
    thread.start()
    # Others are answered meanwhile.
    assert len(list(Client(f"127.0.0.1:{server.options.rest_api_port}", "m", retries=0).predict(["a"]))) == 1
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


def test_a_slow_body_is_not_waited_for(server, stream):
    stream.sendall(POST + b"Content-Length: 900\r\n\r\n")
    thread = threading.Thread(target=drip, args=(stream, b"a" * 200))
    thread.start()
    status, headers, body = answer_of(stream)
    assert status == 408 and "connection: close" in headers
    assert body == {"error": "request body did not arrive within 0.5 seconds"}
    thread.join()


@pytest.mark.parametrize("header", [b"Content-Length: 100001\r\n", b"Content-Length: 99999999999999999999\r\n"])
@pytest.mark.parametrize("expects", [False, True], ids=["", "100-continue"])
def test_a_long_body_is_refused_by_its_header(server, stream, header, expects):
    # Nothing of the body is sent.
    stream.sendall(POST + header + b"Expect: 100-continue\r\n" * expects + b"\r\n")
    status, headers, body = answer_of(stream)
    assert status == 413 and "connection: close" in headers
    assert body == {"error": "request body has more than 100,000 bytes; wanted fewer"}


def test_a_body_without_a_length_is_refused_once_it_is_too_long(server, stream):
    stream.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"2710\r\n" + b"a" * 10_000 + b"\r\n"
    # It never ends, and the client does not read while it sends.
    stream.sendall(chunk * 11)
    assert answer_of(stream)[0] == 413


def test_a_grpc_connection_that_says_nothing_is_closed(server):
    with socket.create_connection(("127.0.0.1", server.options.port), timeout=30) as stream:
        rest_of(stream)


def test_grpc_calls_without_a_message_hold_up_nobody_and_are_cancelled(server):
    over = threading.Event()

    def nothing():
        over.wait()
        yield from ()

    with grpc.insecure_channel(f"127.0.0.1:{server.options.port}") as channel:
        method = "/tensorflow.serving.PredictionService/Predict"
        # More than there are threads to answer.
        calls = [channel.stream_unary(method).future(nothing()) for _ in range(6)]
        time.sleep(0.3)
        client = Client(f"grpc://127.0.0.1:{server.options.port}", "m", retries=0, timeout_seconds=30)
        assert [answer["label"] for answer in client.predict(["my card pin"])] == ["card"]
        assert not any(call.done() for call in calls)
        assert [call.exception(timeout=30).code() for call in calls] == [grpc.StatusCode.CANCELLED] * 6
        over.set()
        # A call that ends without a message.
        with pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary(method)(iter([]), timeout=30)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


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
