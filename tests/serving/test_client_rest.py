"""The REST client: addresses, requests, errors and TLS."""

import socket
import ssl
import threading

import pytest
from support.certificates import CERTIFICATE, KEY
from support.json_server import EchoHandler, running

from tfbert.serving.client_rest import Rest
from tfbert.serving.connection import Connection, ServerError


@pytest.fixture
def server():
    with running(EchoHandler) as echo:
        yield echo


def rest_to(address, model="m", version=None, headers=(), ca_path=None):
    return Rest(Connection(address, 30.0, dict(headers), ca_path), model, version)


def rest_of(server, *args, **options):
    return rest_to(f"127.0.0.1:{server.server_port}", *args, **options)


@pytest.mark.parametrize(
    ("model", "version", "path"),
    [
        ("m", None, "/v1/models/m"),
        ("bank cards", 7, "/v1/models/bank%20cards/versions/7"),
        ("a/b", 0, "/v1/models/a%2Fb/versions/0"),
    ],
)
def test_the_path_has_model_and_version(server, model, version, path):
    rest_of(server, model, version).predict(["a"], "labels")
    rest_of(server, model, version).metadata()
    assert server.requests == [
        (path + ":predict", {"signature_name": "labels", "instances": ["a"]}),
        (path + "/metadata", None),
    ]


def test_bytes_are_sent_as_base64_at_any_depth(server):
    items = [b"\xff", {"text": b"a", "choices": ("b", b"c"), "ids": [1, 2]}, "text"]
    sent = [{"b64": "/w=="}, {"text": {"b64": "YQ=="}, "choices": ["b", {"b64": "Yw=="}], "ids": [1, 2]}, "text"]
    assert [prediction["of"] for prediction in rest_of(server).predict(items, "s")] == sent


def test_headers_have_the_content_type(server):
    rest_of(server, headers={"x-api-key": "secret"}).predict(["a"], "s")
    assert (server.headers[0]["x-api-key"], server.headers[0]["content-type"]) == ("secret", "application/json")


@pytest.mark.parametrize(
    ("status", "can_repeat"), [(429, True), (503, True), (400, False), (404, False), (500, False), (504, False)]
)
def test_only_rejected_requests_can_be_repeated(server, status, can_repeat):
    server.responses.append((status, {"error": "so it is"}))
    with pytest.raises(ServerError, match="^127.0.0.1:[0-9]+: so it is$") as caught:
        rest_of(server).predict(["a"], "s")
    assert (caught.value.status, caught.value.can_repeat) == (status, can_repeat)


def test_an_unreachable_server_can_be_retried():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ServerError, match=f"^{address}: cannot be reached") as caught:
        rest_to(address).metadata()
    assert caught.value.can_repeat and caught.value.status is None


def test_a_grpc_port_is_recognized():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def send_http2():
            stream, _ = listening.accept()
            with stream:
                stream.recv(1000)
                # The beginning of HTTP/2.
                stream.sendall(b"\0\0\x06\x04\0\0\0\0\0\r\n")

        thread = threading.Thread(target=send_http2)
        thread.start()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(ServerError, match=f"if this is a gRPC port, use the address grpc://{address}$"):
            rest_to(address).metadata()
        thread.join()


def test_tls(server, tmp_path):
    (tmp_path / "key").write_text(KEY, encoding="utf-8")
    (tmp_path / "certificate").write_text(CERTIFICATE, encoding="utf-8")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    address = f"https://localhost:{server.server_port}"
    assert rest_to(address, ca_path=str(tmp_path / "certificate")).predict(["a"], "s") == [{"of": "a"}]
    with pytest.raises(ServerError, match="cannot be reached .*certificate verify failed"):
        rest_to(address).predict(["a"], "s")


def test_a_broken_connection_is_an_error(server):
    server.responses.append((None, {}))
    with pytest.raises(ServerError, match="no response") as caught:
        rest_of(server).predict(["a"], "s")
    # The request may have been processed.
    assert not caught.value.can_repeat and len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "message", "status"),
    [
        ((200, b"<html>"), "the response is not a JSON object", 200),
        ((200, b"[1]"), "the response is not a JSON object", 200),
        ((200, {"predictions": []}), "returned 0 predictions for 1 items", None),
        ((502, b"<html>"), "HTTP status 502", 502),
    ],
)
def test_malformed_responses(server, answer, message, status):
    server.responses.append(answer)
    with pytest.raises(ServerError, match=message) as caught:
        rest_of(server).predict(["a"], "s")
    assert caught.value.status == status
