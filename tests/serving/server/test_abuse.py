"""Malicious and malformed requests: the server returns a client error, and logs no text.

`TFBERT_ABUSE=N` sends N of each kind instead of a few hundred.
"""

import http.client
import json
import os
import random
import socket

import grpc
import pytest
from support import small
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from benchmarks.processes import free_ports
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
    allowed = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"}
    address = f"127.0.0.1:{server.options.port}"
    with grpc.insecure_channel(address) as channel:
        raw = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        for case in range(CASES):
            message = bytearray(whole)
            for _ in range(rng.randrange(4)):
                message[rng.randrange(len(message))] = rng.randrange(256)
            message = bytes(message[: rng.randrange(len(message) + 1)] if rng.random() < 0.2 else message)
            try:
                raw(message, timeout=60)
            except grpc.RpcError as error:
                assert error.code().name in allowed, (case, message, error)
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(valid, timeout=60)
        assert len(answer.outputs["label"].string_val) == 2
    assert not any("Zaubereule" in record.getMessage() for record in caplog.records)
    assert not any(record.exc_info for record in caplog.records)


def request_of(signature="", **inputs):
    """Return a request whose inputs are a dtype, a shape and values."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "m", signature
    for name, (dtype, shape, values) in inputs.items():
        request.inputs[name].dtype = dtype
        for size in shape:
            request.inputs[name].tensor_shape.dim.add(size=size)
        for field, value in values.items():
            getattr(request.inputs[name], field).extend(value)
    return request


TEXTS, NUMBERS = 7, 3
NO_TOKENS = {"token_ids": [2, 5, 3], "segment_ids": [0, 0, 0], "padding_mask": [0, 0, 0]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (NO_TOKENS, "padding_mask must have at least one 1 in each sequence"),
        (dict.fromkeys(NO_TOKENS, []), "padding_mask must have at least one 1 in each sequence"),
        (NO_TOKENS | {"token_ids": [2, -5, 3], "padding_mask": [1, 1, 1]}, "token_ids must be from 0 to 189"),
    ],
)
def test_token_ids_that_are_none_are_refused(server, row, message):
    connection = http.client.HTTPConnection("127.0.0.1", server.options.rest_api_port, timeout=60)
    body = {"signature_name": "token_ids", "inputs": {name: [values] for name, values in row.items()}}
    connection.request("POST", "/v1/models/m:predict", json.dumps(body))
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    assert response.status == 400 and json.loads(text) == {"error": f"assertion failed: [{message}]"}
    tensors = {name: (NUMBERS, [1, len(values)], {"int_val": values}) for name, values in row.items()}
    address = f"127.0.0.1:{server.options.port}"
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request_of("token_ids", **tensors))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == f"assertion failed: [{message}]"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        # Once filled with 400 million empty texts: 32 seconds and 3 GB for 38 bytes.
        (request_of(text=(TEXTS, [400_000_000], {})), "Tensor text has 0 values for the shape [400000000]; all values"),
        (request_of(text=(TEXTS, [2**62], {"string_val": [b"a"]})), "Tensor text has 1 values for the shape"),
        (request_of(text=(TEXTS, [-7], {"string_val": [b"a"]})), "has the shape [-7]; expected sizes of 0 or more"),
        (request_of(text=(TEXTS, [0, 2**40], {})), "Tensor text has 0 values for the shape [0, 1099511627776]"),
        # What does not fit the signature is not built either.
        (request_of(text=(NUMBERS, [2**40], {})), "Expects arg[0] to be string but int32 is provided"),
        (request_of(text=(9999, [2**40], {})), "to be string but unknown dtype enum (9999) is provided"),
        (request_of(other=(TEXTS, [2**40], {})), "Sent extra: {other}. Missing but required: {text}."),
        (request_of("labels", label_id=(NUMBERS, [2**40], {"int_val": [1]})), "Tensor label_id has 1 values"),
    ],
)
def test_a_small_message_with_an_impossible_tensor_is_refused_at_once(server, request_, message):
    with grpc.insecure_channel(f"127.0.0.1:{server.options.port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request_, timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert message in caught.value.details()


@pytest.mark.parametrize(
    "method",
    [
        "tensorflow.serving.PredictionService/Predict",
        "tensorflow.serving.PredictionService/Classify",
        "tensorflow.serving.PredictionService/GetModelMetadata",
        "tensorflow.serving.ModelService/GetModelStatus",
        "tensorflow.serving.ModelService/HandleReloadConfigRequest",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
@pytest.mark.parametrize("message", [b"\xff\xff", b"\x0a\x7f", b"\x0a\x05\x0a\x03\xff\xfe\xfd"])
def test_a_message_that_cannot_be_decoded_is_the_clients_fault(server, caplog, method, message):
    address = f"127.0.0.1:{server.options.port}"
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        if "Reflection" in method:
            list(channel.stream_stream(f"/{method}")(iter([message]), timeout=20))
        else:
            channel.unary_unary(f"/{method}")(message, timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "The message cannot be decoded as the request of this method"
    assert not any(record.exc_info or record.levelname == "ERROR" for record in caplog.records)


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
