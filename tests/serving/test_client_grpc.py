"""The gRPC client: requests, retries, errors and TLS."""

import itertools
import socket
import sys
import threading
import time
from collections import deque
from concurrent import futures

import grpc
import pytest
import tensorflow as tf
from support.certificates import CERTIFICATE, KEY
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from benchmarks.processes import free_ports
from tfbert.serving import client as clients
from tfbert.serving.client import Client, ServerError
from tfbert.serving.input_spec import InputSpec

FULL = "The batch scheduling queue to which this task was submitted is full; currently 2 batches enqueued"
# The inputs of two signatures, with dtype and rank.
SIGNATURES = {
    "serving_default": {"text": (types_pb2.DT_STRING, 1)},
    "pairs": {"question": (types_pb2.DT_STRING, 1), "number": (types_pb2.DT_INT32, 2)},
    "offers": {"title": (types_pb2.DT_STRING, 1), "price": (types_pb2.DT_FLOAT, 1)},
}


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Returns the prepared `responses` in order, or echoes the inputs if there are none; records the requests."""

    def __init__(self):
        self.requests, self.keys, self.responses, self.num_metadata = [], [], deque(), 0

    def Predict(self, request, context):
        inputs = {name: tf.make_ndarray(tensor).tolist() for name, tensor in request.inputs.items()}
        self.requests.append((request.model_spec, inputs))
        self.keys.append(dict(context.invocation_metadata()).get("x-api-key"))
        if self.responses:
            prepared = self.responses.popleft()
            if isinstance(prepared, tuple):
                context.abort(*prepared)
            return prepared()
        return response(**{f"of_{name}": values for name, values in inputs.items()})

    def GetModelMetadata(self, request, context):
        self.num_metadata += 1
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, inputs in SIGNATURES.items():
            for key, (dtype, rank) in inputs.items():
                info = signatures.signature_def[name].inputs[key]
                info.dtype = dtype
                for _ in range(rank):
                    info.tensor_shape.dim.add(size=-1)
        message = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=request.model_spec)
        message.metadata["signature_def"].Pack(signatures)
        return message


def response(**outputs):
    message = predict_pb2.PredictResponse()
    for name, values in outputs.items():
        message.outputs[name].CopyFrom(tf.make_tensor_proto(values))
    return message


def start_server(service, port, credentials=None):
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    address = f"127.0.0.1:{port}"
    assert port == (server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address))
    server.start()
    return server


@pytest.fixture
def service(monkeypatch):
    service = Service()
    service.waits = []
    monkeypatch.setattr(clients.time, "sleep", service.waits.append)
    (service.port,) = free_ports(1)
    server = start_server(service, service.port)
    yield service
    server.stop(0).wait()


def client(service, **options):
    return Client(f"grpc://127.0.0.1:{service.port}", "bank cards", **options)


def test_headers_are_sent_with_every_request(service):
    list(client(service, batch_size=1, headers={"x-api-key": "secret"}).predict(["a", "b"]))
    list(client(service).predict(["c"]))
    assert service.keys == ["secret", "secret", None]


def test_tls(tmp_path):
    (tmp_path / "certificate").write_text(CERTIFICATE, encoding="utf-8")
    [port] = free_ports(1)
    server = start_server(Service(), port, grpc.ssl_server_credentials([(KEY.encode(), CERTIFICATE.encode())]))
    address = f"grpcs://localhost:{port}"
    assert list(Client(address, ca_path=str(tmp_path / "certificate")).predict(["a"])) == ["a"]
    with pytest.raises(ServerError, match="cannot be reached"):
        list(Client(address, retries=0).predict(["a"]))
    server.stop(0).wait()


def test_texts_are_sent_in_batches_and_predictions_are_in_order(service):
    texts = ["a", b"b", "é", "d", "e"]
    predictions = list(client(service, batch_size=2, version=7).predict(iter(texts)))
    assert predictions == ["a", "b", "é", "d", "e"]
    batches = [inputs["text"] for _, inputs in service.requests]
    assert batches == [[b"a", b"b"], ["é".encode(), b"d"], [b"e"]]
    spec = service.requests[0][0]
    assert (spec.name, spec.signature_name, spec.version.value) == ("bank cards", "serving_default", 7)
    assert service.num_metadata == 1
    list(client(service).predict(["a"]))
    assert not service.requests[-1][0].HasField("version")


def test_items_of_several_inputs(service):
    items = [{"question": "a", "number": [1, 2]}, {"number": (3, 4), "question": "b"}]
    predictions = list(client(service).predict(items, "pairs"))
    assert predictions == [{"of_number": [1, 2], "of_question": "a"}, {"of_number": [3, 4], "of_question": "b"}]
    assert client(service).inputs("pairs") == {"number": InputSpec("int32", many=True), "question": InputSpec()}


def test_numbers_are_sent_as_floats(service):
    assert client(service).inputs("offers") == {"price": InputSpec("float32"), "title": InputSpec()}
    items = [{"title": "a", "price": 2.5}, {"title": "b", "price": 3}]
    assert list(client(service).predict(items, "offers")) == [
        {"of_price": 2.5, "of_title": "a"},
        {"of_price": 3.0, "of_title": "b"},
    ]
    with pytest.raises(ValueError, match="input price: not all are values of DT_FLOAT"):
        list(client(service).predict([{"title": "a", "price": "cheap"}], "offers"))


@pytest.mark.parametrize(
    ("items", "signature", "message"),
    [
        (["a"], "pairs", "an item has str; expected the inputs number, question"),
        ([{"question": "a"}], "pairs", "an item has question; expected the inputs number, question"),
        ([{"txt": "a"}], "serving_default", "an item has txt; expected the inputs text"),
        (["a", 3], "serving_default", "input text: not all are values of DT_STRING"),
        (["a", ["b"]], "serving_default", "input text: values have different shapes"),
    ],
)
def test_invalid_items_are_not_sent(service, items, signature, message):
    with pytest.raises(ValueError, match=message):
        list(client(service).predict(items, signature))
    assert service.requests == []


def test_an_unknown_signature(service):
    with pytest.raises(ServerError, match="no signature 'X' among offers, pairs, serving_default"):
        list(client(service).predict(["a"], "X"))


def test_rejected_requests_are_repeated(service):
    full, slow = (grpc.StatusCode.UNAVAILABLE, FULL), (grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down")
    service.responses.extend([full, slow])
    assert list(client(service).predict(["a"])) == ["a"]
    assert len(service.requests) == 3 and len(service.waits) == 2
    assert 0.1 <= service.waits[0] <= 0.2 <= service.waits[1] <= 0.4
    service.responses.extend([full] * 4)
    with pytest.raises(ServerError, match="queue to which this task") as caught:
        list(client(service).predict(["a"]))
    assert caught.value.status == 503 and len(service.requests) == 7


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("INVALID_ARGUMENT", 400),
        ("NOT_FOUND", 404),
        ("INTERNAL", 500),
        ("UNAVAILABLE", 503),
        ("DEADLINE_EXCEEDED", 504),
    ],
)
def test_requests_that_may_have_been_processed_are_not_repeated(service, code, status):
    service.responses.append((grpc.StatusCode[code], "so it is"))
    with pytest.raises(ServerError, match=f"grpc://127.0.0.1:{service.port}: so it is") as caught:
        list(client(service).predict(["a"]))
    assert (caught.value.status, len(service.requests)) == (status, 1)


def test_a_response_that_takes_too_long(service):
    slow_client, released = client(service), threading.Event()
    # The first request connects and gets the metadata.
    assert list(slow_client.predict(["a"])) == ["a"]
    slow_client.transport.timeout_seconds = 0.3
    service.responses.append(lambda: released.wait(30) and response(of_text=["a"]))
    start = time.monotonic()
    with pytest.raises(ServerError, match="Deadline Exceeded") as caught:
        list(slow_client.predict(["a"]))
    released.set()
    assert caught.value.status == 504 and len(service.requests) == 2
    assert 0.25 < time.monotonic() - start < 20


def test_an_unreachable_server_and_one_that_starts_late(service, monkeypatch):
    (service.port,) = free_ports(1)
    unreachable = client(service, retries=2)
    with pytest.raises(ServerError, match=f"127.0.0.1:{service.port}: cannot be reached") as caught:
        list(unreachable.predict(["a"]))
    assert caught.value.status is None and len(service.waits) == 2 and not unreachable.is_ready()
    # By default, a channel waits a second before it reconnects.
    servers = []

    def start_and_wait(seconds):
        servers.append(start_server(service, service.port))
        threading.Event().wait(0.5)

    monkeypatch.setattr(clients.time, "sleep", start_and_wait)
    assert list(client(service, retries=1).predict(["a"])) == ["a"]
    assert len(servers) == 1
    servers[0].stop(0).wait()


def test_a_broken_connection_is_not_retried():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        name = "bank" * 100

        def accept_and_disconnect():
            with listening.accept()[0] as connection:
                # An empty SETTINGS frame is enough for the client to send its request, most of which is the name.
                connection.sendall(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
                sizes = (len(connection.recv(1000)) for _ in itertools.count())
                next(total for total in itertools.accumulate(sizes) if total > 1.5 * len(name))

        thread = threading.Thread(target=accept_and_disconnect, daemon=True)
        thread.start()
        broken = Client(f"grpc://127.0.0.1:{listening.getsockname()[1]}", name, timeout_seconds=20)
        with pytest.raises(ServerError) as caught:
            broken.metadata()
        thread.join()
        assert caught.value.status == 503
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_large_responses(service):
    service.responses.append(lambda: response(of_text=["x" * 6_000_000]))
    assert [len(prediction) for prediction in client(service).predict(["a"])] == [6_000_000]


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"label": ["a", "b"]}, r"output label has the shape \(2,\); expected one value for each of 1 items"),
        ({"label": "a"}, r"output label has the shape \(\); expected one value for each of 1 items"),
        ({"label": tf.constant([1], tf.uint8)}, "output label: values of DT_UINT8 cannot be read"),
    ],
)
def test_malformed_responses(service, outputs, message):
    service.responses.append(lambda: response(**outputs))
    with pytest.raises(ServerError, match=message):
        list(client(service).predict(["a"]))


def test_rest_on_a_grpc_port(service):
    address = f"127.0.0.1:{service.port}"
    with pytest.raises(
        ServerError, match=f"does not speak HTTP; if this is a gRPC port, use the address grpc://{address}"
    ):
        list(Client(address).predict(["a"]))
    assert service.waits == []


def test_without_grpcio_rest_still_works(monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)
    monkeypatch.delitem(sys.modules, "tfbert.serving.client_grpc", raising=False)
    with pytest.raises(
        ValueError, match=r"the package grpc, needed for grpc://localhost:1, is .*: pip install -e '\.\[grpc\]'"
    ):
        Client("grpc://localhost:1")
    assert Client("localhost:1").address == "localhost:1"
