"""The client over REST: addresses, what requests hold, and answers that are none."""

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
    with running(EchoHandler) as found:
        yield found


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
def test_a_model_has_a_path(server, model, version, path):
    rest_of(server, model, version).predict(["a"], "labels")
    rest_of(server, model, version).metadata()
    assert server.seen == [
        (path + ":predict", {"signature_name": "labels", "instances": ["a"]}),
        (path + "/metadata", None),
    ]


def test_bytes_are_base64_wherever_they_are(server):
    items = [b"\xff", {"text": b"a", "choices": ("b", b"c"), "ids": [1, 2]}, "text"]
    sent = [{"b64": "/w=="}, {"text": {"b64": "YQ=="}, "choices": ["b", {"b64": "Yw=="}], "ids": [1, 2]}, "text"]
    assert [answer["of"] for answer in rest_of(server).predict(items, "s")] == sent


def test_headers_say_what_a_body_is(server):
    rest_of(server, headers={"x-api-key": "secret"}).predict(["a"], "s")
    assert (server.headers[0]["x-api-key"], server.headers[0]["content-type"]) == ("secret", "application/json")


@pytest.mark.parametrize(
    ("status", "can_repeat"), [(429, True), (503, True), (400, False), (404, False), (500, False), (504, False)]
)
def test_only_what_was_turned_away_can_be_repeated(server, status, can_repeat):
    server.answers.append((status, {"error": "so it is"}))
    with pytest.raises(ServerError, match="^127.0.0.1:[0-9]+: so it is$") as caught:
        rest_of(server).predict(["a"], "s")
    assert (caught.value.status, caught.value.can_repeat) == (status, can_repeat)


def test_nobody_there_can_be_asked_again():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ServerError, match=f"^{address}: cannot be reached") as caught:
        rest_to(address).metadata()
    assert caught.value.can_repeat and caught.value.status is None


def test_a_port_of_grpc_is_taken_for_one():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def say_something_else():
            stream, _ = listening.accept()
            with stream:
                stream.recv(1000)
                # As HTTP/2 begins.
                stream.sendall(b"\0\0\x06\x04\0\0\0\0\0\r\n")

        thread = threading.Thread(target=say_something_else)
        thread.start()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(ServerError, match=f"if it is a port of gRPC, its address is grpc://{address}$"):
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


def test_a_connection_that_breaks_is_an_error(server):
    server.answers.append((None, {}))
    with pytest.raises(ServerError, match="no answer") as caught:
        rest_of(server).predict(["a"], "s")
    # It may have been answered.
    assert not caught.value.can_repeat and len(server.seen) == 1


@pytest.mark.parametrize(
    ("answer", "message", "status"),
    [
        ((200, b"<html>"), "answered what is no JSON object", 200),
        ((200, b"[1]"), "answered what is no JSON object", 200),
        ((200, {"predictions": []}), "answered 0 of 1 items", None),
        ((502, b"<html>"), "HTTP status 502", 502),
    ],
)
def test_odd_answers(server, answer, message, status):
    server.answers.append(answer)
    with pytest.raises(ServerError, match=message) as caught:
        rest_of(server).predict(["a"], "s")
    assert caught.value.status == status
