"""Messages of gRPC calls that are late, missing or invalid; other calls are served meanwhile."""

import socket
import threading
import time

import grpc
import pytest
from support.http_streams import rest_of
from support.running_server import running

from tfbert.serving.client import Client
from tfbert.serving.server import grpc_api, grpc_messages
from tfbert.serving.server.grpc_messages import Messages


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpc_api, "HANDSHAKE_SECONDS", 1)
        patch.setattr(grpc_messages, "MESSAGE_SECONDS", 1.0)
        with running(grpc_max_threads=2) as found:
            yield found


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


class Refused(Exception):
    """A call was aborted."""


class Context:
    """The context of a call; `abort` ends it, as that of gRPC does."""

    def abort(self, code, details):
        raise Refused(code, details)


def handler_of(kind, behavior):
    """Return the handler of a method that adds, behind the interceptor; its messages are decimal digits."""
    made = getattr(grpc, f"{kind}_rpc_method_handler")(behavior, int, str)
    return Messages(num_answering=1).intercept_service(lambda details: made, None)


def test_each_kind_of_call_gets_its_message_decoded():
    unary = handler_of("unary_unary", lambda request, context: request + 1)
    # To the client it stays a call with one message; the server waits for it itself.
    assert unary.request_streaming and not unary.response_streaming
    decode = unary.request_deserializer
    assert unary.stream_unary(iter([decode(b"4")]), Context()) == 5
    stream = handler_of("unary_stream", lambda request, context: range(request))
    assert list(stream.unary_stream(decode(b"3"), Context())) == [0, 1, 2]
    both = handler_of("stream_stream", lambda requests, context: (2 * request for request in requests))
    assert list(both.stream_stream(map(decode, (b"6", b"7")), Context())) == [12, 14]


def test_a_message_that_cannot_be_decoded_or_does_not_come_is_the_clients_fault():
    asked = []
    unary = handler_of("unary_unary", lambda request, context: asked.append(request))
    stream = handler_of("unary_stream", lambda request, context: asked.append(request))
    both = handler_of("stream_stream", lambda requests, context: requests)
    bad = unary.request_deserializer(b"\xff")
    calls = [
        lambda: unary.stream_unary(iter([bad]), Context()),
        lambda: unary.stream_unary(iter([]), Context()),
        lambda: stream.unary_stream(bad, Context()),
        lambda: list(both.stream_stream(iter([bad]), Context())),
    ]
    for call in calls:
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.args == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "The message cannot be decoded as the request of this method",
        )
    assert asked == []


def test_methods_that_are_not_there_are_left_to_grpc():
    assert Messages(num_answering=1).intercept_service(lambda details: None, None) is None
