"""Receives the messages of gRPC calls with a time limit, so that slow or invalid messages do not delay other calls."""

import functools
import threading
import time
from collections.abc import Callable, Iterator

import grpc
from google.protobuf.message import DecodeError

from tfbert.serving.server.status import Code

# The documented time in which the message of a call has to arrive, after which the call is cancelled.
MESSAGE_SECONDS = 60.0
# Maximum number of calls whose message has not arrived, and of streams.
MOST_WAITING = 256
# Stands for a message that cannot be decoded.
_UNDECODABLE = object()
_LOOK_SECONDS = 0.25


class Messages(grpc.ServerInterceptor):
    """Reads the message of each call before the call occupies one of the few threads.

    Left alone, gRPC gives a call a thread as soon as its headers are there, so that a few calls without a message stop
    a server for good; and it logs a traceback for a message that cannot be decoded, and answers INTERNAL, as if the
    fault were the server's.

    Args:
        num_answering: calls that are answered at once.
    """

    def __init__(self, num_answering: int):
        self._places = threading.Semaphore(num_answering)
        self._lock = threading.Lock()
        # What waits for its message, and until when.
        self._waiting: dict[grpc.ServicerContext, float] = {}
        self._is_watched = False

    def intercept_service(self, continuation, handler_call_details):
        """Return the handler of a call, which runs after the message has arrived."""
        handler = continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        decode = _lenient(handler.request_deserializer)
        if handler.unary_unary:
            # To the client it is the same; here it is for us to wait for the message.
            answer = functools.partial(self._answered, handler.unary_unary)
            return grpc.stream_unary_rpc_method_handler(answer, decode, handler.response_serializer)
        if handler.unary_stream:
            checked = _checked(handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(checked, decode, handler.response_serializer)
        if handler.stream_stream:
            answer = functools.partial(_streamed, handler.stream_stream)
            return grpc.stream_stream_rpc_method_handler(answer, decode, handler.response_serializer)
        return handler

    def _answered(self, behavior: Callable, requests: Iterator, context: grpc.ServicerContext):
        with self._lock:
            self._waiting[context] = time.monotonic() + MESSAGE_SECONDS
            if not self._is_watched:
                self._is_watched = True
                threading.Thread(target=self._watch, name="grpc-messages", daemon=True).start()
        try:
            request = next(requests, _UNDECODABLE)
        finally:
            with self._lock:
                del self._waiting[context]
        if request is _UNDECODABLE:
            _refuse(context)
        with self._places:
            return behavior(request, context)

    def _watch(self) -> None:
        """Cancel calls whose time is up, until none waits. Runs in a separate thread."""
        while True:
            time.sleep(_LOOK_SECONDS)
            with self._lock:
                if not self._waiting:
                    self._is_watched = False
                    return
                late = [context for context, until in self._waiting.items() if until < time.monotonic()]
            for context in late:
                context.cancel()


def _checked(behavior: Callable) -> Callable:
    # Keeps the attributes by which a behavior asks for other threads.
    @functools.wraps(behavior)
    def checked(request, context, *more):
        if request is _UNDECODABLE:
            _refuse(context)
        return behavior(request, context, *more)

    return checked


def _streamed(behavior: Callable, requests: Iterator, context: grpc.ServicerContext):
    return behavior(_decoded(requests, context), context)


def _decoded(requests: Iterator, context: grpc.ServicerContext) -> Iterator:
    for request in requests:
        if request is _UNDECODABLE:
            _refuse(context)
        yield request


def _lenient(deserialize: Callable[[bytes], object]) -> Callable[[bytes], object]:
    def decode(data: bytes) -> object:
        try:
            return deserialize(data)
        except (DecodeError, ValueError):
            return _UNDECODABLE

    return decode


def _refuse(context: grpc.ServicerContext) -> None:
    context.abort(Code.INVALID_ARGUMENT.grpc, "The message cannot be decoded as the request of this method")
