"""Requests that nobody should send: the server answers each, with a fault of the client's, and logs no text.

`TFBERT_ABUSE=N` sends N of each kind instead of a few hundred.
"""

import http.client
import json
import os
import random
import socket

import grpc
import pytest
import small
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfbert.bench.processes import free_ports
from tfbert.serving.client import Client
from tfbert.serving.server.flags import Options
from tfbert.serving.server.server import Server

CASES = int(os.environ.get("TFBERT_ABUSE", "120"))
SECRET = "Ada's password is Zaubereule"
BODIES = [
    {"instances": [SECRET, "b"]},
    {"inputs": {"text": [SECRET]}},
    {"signature_name": "labels", "instances": [1, 2]},
    {
        "signature_name": "token_ids",
        "instances": [{"token_ids": [2, 3], "segment_ids": [0, 0], "padding_mask": [1, 1]}],
    },
    {"signature_name": "classify", "examples": [{"text": SECRET}], "context": {"n": 1}},
]
ODD = [
    None, True, -1, 2**70, 1.5, 1e400, float("nan"), "", "\ud800", SECRET, "\x00", [], {}, [[]], {"b64": "%"},
    {"b64": "/w=="}, {"text": [SECRET]}, [SECRET, [SECRET]], "A" * 5000,
]  # fmt: skip
PATHS = [
    ":predict",
    ":classify",
    ":regress",
    "/versions/1:predict",
    "/labels/x:predict",
    "/metadata",
    "",
    "/versions/2",
]


@pytest.fixture(scope="module")
def server():
    ports = free_ports(2)
    model_dir = small.finished_run()[1].resolve()
    found = Server(Options(port=ports[0], rest_api_port=ports[1], model_name="m", model_base_path=str(model_dir)))
    yield found
    found.close()


def mutated(value, rng):
    """Return a JSON value with something odd in it."""
    if rng.random() < 0.25:
        return rng.choice(ODD)
    if isinstance(value, dict):
        found = {key: mutated(item, rng) for key, item in value.items()}
        if rng.random() < 0.2:
            found[rng.choice(["instances", "inputs", "signature_name", "x", "b64", "examples"])] = rng.choice(ODD)
        return found
    if isinstance(value, list):
        found = [mutated(item, rng) for item in value]
        return found * rng.choice([0, 1, 1, 3])
    return value


def body_of(rng):
    body = rng.choice(BODIES)
    text = json.dumps(mutated(body, rng) if rng.random() < 0.7 else body).encode()
    kind = rng.random()
    if kind < 0.2:
        return text[: rng.randrange(len(text) + 1)]
    if kind < 0.4:
        place = rng.randrange(len(text) + 1)
        return text[:place] + rng.randbytes(rng.randrange(1, 5)) + text[place:]
    return text


def test_rest_answers_every_body_with_a_fault_of_the_client_or_an_answer(server, caplog):
    caplog.set_level("INFO")
    rng = random.Random(7)
    seen = {}
    connection = http.client.HTTPConnection("127.0.0.1", server.options.rest_api_port, timeout=60)
    for case in range(CASES):
        method, path, body = (
            rng.choice(["POST"] * 9 + ["GET", "PUT"]),
            rng.choice(PATHS * 2 + [":predict"] * 12),
            body_of(rng),
        )
        connection.request(method, f"/v1/models/m{path}", body)
        response = connection.getresponse()
        text = response.read()
        said = json.loads(text)
        seen[response.status] = seen.get(response.status, 0) + 1
        # 501 is for types that JSON cannot hold; nothing may be 500.
        assert response.status in (200, 400, 404, 501), (case, method, path, body, text)
        assert (response.status == 200) == ("error" not in said)
    connection.close()
    assert seen[200] > CASES / 50 and seen[400] > CASES / 5, seen
    assert not any("Zaubereule" in record.getMessage() for record in caplog.records)


def test_grpc_answers_every_message_with_a_fault_of_the_client_or_an_answer(server, caplog):
    caplog.set_level("INFO")
    rng = random.Random(8)
    valid = predict_pb2.PredictRequest()
    valid.model_spec.name = "m"
    valid.inputs["text"].string_val.extend([SECRET.encode(), b"\xff"])
    valid.inputs["text"].dtype = 7
    valid.inputs["text"].tensor_shape.dim.add(size=2)
    whole = valid.SerializeToString()
    allowed = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "INTERNAL", "UNIMPLEMENTED"}
    address = f"127.0.0.1:{server.options.port}"
    with grpc.insecure_channel(address) as channel:
        raw = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        for case in range(CASES):
            message = bytearray(whole)
            for _ in range(rng.randrange(4)):
                message[rng.randrange(len(message))] = rng.randrange(256)
            message = bytes(message[: rng.randrange(len(message) + 1)] if rng.random() < 0.2 else message)
            try:
                readable = predict_pb2.PredictRequest.FromString(message) is not None
            except Exception:
                readable = False
            try:
                raw(message, timeout=60)
            except grpc.RpcError as error:
                # gRPC itself says INTERNAL where a message cannot be read; what can be read is answered by us.
                assert error.code().name in allowed - ({"INTERNAL"} if readable else set()), (case, message, error)
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(valid, timeout=60)
        assert len(answer.outputs["label"].string_val) == 2
    assert not any("Zaubereule" in record.getMessage() for record in caplog.records)


def test_streams_that_are_no_http_are_survived(server):
    rng = random.Random(9)
    for _ in range(max(20, CASES // 20)):
        with socket.create_connection(("127.0.0.1", server.options.rest_api_port), timeout=60) as stream:
            start = b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 90\r\n\r\n" if rng.random() < 0.5 else b""
            stream.sendall(start + rng.randbytes(rng.randrange(80)))
    for port in (server.options.port, server.options.rest_api_port):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as stream:
            stream.sendall(rng.randbytes(500))
    client = Client(f"127.0.0.1:{server.options.rest_api_port}", "m", retries=0)
    assert len(list(client.predict(["my card pin"]))) == 1
