"""The REST API: paths, request bodies and responses."""

import asyncio
import gzip
import json
import socket
import threading

import pytest
from support.calls_fakes import FakeManager
from support.http_streams import POST, answer_of, drip
from support.running_server import running

from tfbert.serving.server import rest_api
from tfbert.serving.server.access import FAILURE
from tfbert.serving.server.calls import Calls
from tfbert.serving.server.rest_api import RestApi


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rest_api, "BODY_SECONDS", 0.3)
        patch.setattr(rest_api, "_LINGER_SECONDS", 0.2)
        patch.setattr(rest_api, "MOST_BODY_BYTES", 100_000)
        with running() as found:
            yield found


@pytest.fixture
def stream(server):
    with socket.create_connection(("127.0.0.1", server.options.rest_api_port), timeout=30) as found:
        yield found


def test_a_slow_body_is_not_waited_for(server, stream):
    stream.sendall(POST + b"Content-Length: 900\r\n\r\n")
    thread = threading.Thread(target=drip, args=(stream, b"a" * 200))
    thread.start()
    status, headers, body = answer_of(stream)
    assert status == 408 and "connection: close" in headers
    assert body == {"error": "request body did not arrive within 0.3 seconds"}
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


def asked(method, path, body=b"", headers=(), calls=None, **options):
    """Return status, headers and body of the answer to one request, without a connection."""
    api = RestApi(calls=calls or Calls(FakeManager()), num_threads=1, **options)
    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    sent = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    asyncio.run(api(scope, receive, send))
    start, *parts = sent
    return start["status"], dict(start["headers"]), b"".join(part.get("body", b"") for part in parts)


@pytest.mark.parametrize(
    "path", ["/v1/models/m:predict", "/v1/models/m/versions/3:predict", "/v1/models/m/labels/stable:PREDICT"]
)
def test_a_model_is_asked_by_name_version_or_label(path):
    status, headers, body = asked("POST", path, b'{"instances": [1.5, 2]}')
    assert (status, headers[b"content-type"]) == (200, b"application/json")
    assert json.loads(body) == {"predictions": [3.0, 4.0]}
    assert headers[b"content-length"] == str(len(body)).encode()


def test_examples_are_asked_about_in_json():
    body = b'{"signature_name": "%s", "context": {"x": 0.25}, "examples": [{"name": "a"}, {"name": "b", "x": 0.5}]}'
    status, _, answer = asked("POST", "/v1/models/m:classify", body % b"classify")
    assert status == 200
    assert json.loads(answer) == {"results": [[["a", 0.25], ["other", 0.75]], [["b", 0.5], ["other", 0.5]]]}
    assert json.loads(asked("POST", "/v1/models/m:regress", body % b"regress")[2]) == {"results": [0.25, 0.5]}


def test_status_and_signatures_are_told():
    [version] = json.loads(asked("GET", "/v1/models/m")[2])["model_version_status"]
    assert (version["version"], version["state"]) == ("3", "AVAILABLE")
    found = json.loads(asked("GET", "/v1/models/m/versions/3/metadata")[2])
    assert found["model_spec"] == {"name": "m", "signature_name": "", "version": "3"}
    signatures = found["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert signatures.keys() == FakeManager().servable.signatures.keys()


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/n", 404, "Servable not found for request: n None None"),
        ("GET", "/v1/models/m/versions/4", 404, "Servable not found for request: m 4 None"),
        ("GET", "/v1/models/m/versions/9223372036854775808", 400, "Failed to convert version: 9223372036854775808"),
        ("GET", "/v1/models/a%20b", 404, "Servable not found for request: a b None"),
        ("GET", "/v1/models/m:predict", 400, "Malformed request: GET /v1/models/m:predict"),
        ("POST", "/v1/models/m", 400, "Malformed request: POST /v1/models/m"),
        ("PUT", "/v1/models/m", 400, "Malformed request: PUT /v1/models/m"),
        ("POST", "/v1/models/m:predict", 400, "JSON Parse error: The document is empty"),
    ],
)
def test_requests_that_cannot_be_answered_say_why(method, path, status, message):
    found, headers, body = asked(method, path)
    assert (found, headers[b"content-type"]) == (status, b"application/json")
    assert json.loads(body)["error"].startswith(message)


def test_an_unknown_signature_is_named():
    status, _, body = asked("POST", "/v1/models/m:predict", b'{"signature_name": "s", "instances": [1]}')
    assert (status, json.loads(body)["error"]) == (400, 'Serving signature name: "s" not found in signature def')


def test_what_is_not_of_the_api_is_a_page():
    status, headers, body = asked("GET", "/favicon.ico")
    assert (status, headers[b"content-type"]) == (404, b"text/html") and b"<h1>Not Found</h1>" in body


def test_a_compressed_body_is_unpacked_up_to_a_limit(monkeypatch):
    gzipped = [(b"content-encoding", b"gzip")]
    body = gzip.compress(b'{"instances": [4]}')
    assert json.loads(asked("POST", "/v1/models/m:predict", body, gzipped)[2]) == {"predictions": [8.0]}
    monkeypatch.setattr(rest_api, "MOST_BODY_BYTES", 1000)
    for wrong in (b"plain", body[:-9], gzip.compress(b" " * 1001)):
        status, _, answer = asked("POST", "/v1/models/m:predict", wrong, gzipped)
        assert status == 400
        assert json.loads(answer)["error"].startswith("Failed to uncompress the gzipped body")


def test_head_is_answered_without_a_body():
    status, headers, body = asked("HEAD", "/v1/other")
    assert (status, body) == (400, b"") and int(headers[b"content-length"]) > 0


def test_pages_of_other_origins_may_ask_where_that_is_allowed():
    headers = [(b"origin", b"https://page.example")]
    status, found, _ = asked("OPTIONS", "/v1/models/m:predict", b"", headers, with_cors=True)
    assert (status, found[b"access-control-allow-origin"]) == (200, b"*")
    assert b"access-control-allow-origin" not in asked("OPTIONS", "/v1/models/m:predict", b"", headers)[1]
    assert asked("OPTIONS", "/v1/models/m:predict")[0] == 400


def test_metrics_are_where_they_are_said_to_be():
    calls = Calls(FakeManager())
    asked("POST", "/v1/models/m:predict", b'{"instances": [1]}', calls=calls)
    status, headers, body = asked("GET", "/metrics", calls=calls, metrics_path="/metrics")
    assert (status, headers[b"content-type"]) == (200, b"text/plain")
    assert b':tensorflow:serving:request_count{model_name="m",status="OK"} 1' in body
    assert asked("GET", "/metrics", calls=calls)[0] == 404


def test_what_fails_inside_is_not_told_to_clients(monkeypatch, caplog):
    calls = Calls(FakeManager())

    def fail(*args, **options):
        raise KeyError("secret")

    monkeypatch.setattr(calls.manager.servable, "run", fail)
    status, _, body = asked("POST", "/v1/models/m:predict", b'{"instances": [1]}', calls=calls)
    assert (status, json.loads(body)) == (500, {"error": FAILURE})
    assert "KeyError" in caplog.text and "secret" not in caplog.text
    assert 'status="INTERNAL"} 1' in calls.metrics.text()


def test_a_client_that_hangs_up_is_not_answered():
    api, sent = RestApi(calls=Calls(FakeManager()), num_threads=1), []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(api({"type": "http", "method": "POST", "path": "/v1/models/m:predict", "headers": []}, receive, send))
    assert sent == []
