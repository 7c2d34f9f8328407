"""The gRPC API of TensorFlow Serving: its two services, health checks and reflection."""

import functools
from collections.abc import Callable
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import (
    model_service_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
)

from tfbert.serving.server.access import FAILURE, log_failure
from tfbert.serving.server.calls import Calls
from tfbert.serving.server.grpc_messages import MOST_WAITING, Messages
from tfbert.serving.server.status import Code, ServingError

_MOST_MESSAGE_BYTES = 2**31 - 1
_LONGEST_SECONDS = 10**9
_LONGEST_MESSAGE, _CUT = 1024, "...TRUNCATED"
# The documented time that a connection has to begin to speak HTTP/2, and with TLS to agree on its keys.
HANDSHAKE_SECONDS = 10


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, calls: Calls):
        self.calls = calls

    def Predict(self, request, context):
        return _answered(self.calls, "Predict", request, context, self.calls.predict)

    def Classify(self, request, context):
        return _answered(self.calls, "Classify", request, context, self.calls.classify)

    def Regress(self, request, context):
        return _answered(self.calls, "Regress", request, context, self.calls.regress)

    def MultiInference(self, request, context):
        return _answered(self.calls, None, request, context, self.calls.multi_inference)

    def GetModelMetadata(self, request, context):
        return _answered(self.calls, None, request, context, _without_deadline(self.calls.metadata))


class _Model(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, calls: Calls):
        self.calls = calls

    def GetModelStatus(self, request, context):
        return _answered(self.calls, None, request, context, _without_deadline(self.calls.status))

    def HandleReloadConfigRequest(self, request, context):
        return _answered(self.calls, None, request, context, self.calls.reload)


def start(
    calls: Calls,
    addresses: list[str],
    num_threads: int,
    credentials: grpc.ServerCredentials | None = None,
    with_health: bool = False,
) -> grpc.Server:
    """Return a running server.

    Args:
        calls: that answer.
        addresses: `host:port` or `unix:path` each.
        num_threads: that answer at once.
        credentials: of TLS on the first address; the others are local.
        with_health: whether it answers those who ask how it is.

    Raises:
        ValueError: an address cannot be listened on.
    """
    options = [
        ("grpc.max_receive_message_length", _MOST_MESSAGE_BYTES),
        ("grpc.max_send_message_length", _MOST_MESSAGE_BYTES),
        # Otherwise a second server could silently receive some of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.server_handshake_timeout_ms", 1000 * HANDSHAKE_SECONDS),
    ]
    threads = futures.ThreadPoolExecutor(num_threads + MOST_WAITING, "grpc")
    server = grpc.server(threads, interceptors=[Messages(num_threads)], options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Prediction(calls), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Model(calls), server)
    _add_described(server, with_health)
    for index, address in enumerate(addresses):
        try:
            if credentials is not None and index == 0:
                server.add_secure_port(address, credentials)
            else:
                server.add_insecure_port(address)
        except RuntimeError as error:
            raise ValueError(f"cannot listen on {address} ({error}); choose a free port or path") from None
    server.start()
    return server


def _add_described(server: grpc.Server, with_health: bool) -> None:
    """Add the services for reflection and, if enabled, health checks.

    Source: TensorFlow Serving 2.20.0, `model_servers/server.cc`, for the names. There they serve once the server is
    up, whatever becomes of the models; so do ours.
    """
    files = [prediction_service_pb2.DESCRIPTOR, model_service_pb2.DESCRIPTOR]
    if with_health:
        servicer = health.HealthServicer()
        for name in ("PredictionService", "ModelService"):
            servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        files.append(health_pb2.DESCRIPTOR)
    names = [service.full_name for file in files for service in file.services_by_name.values()]
    reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server)


def _without_deadline(answer: Callable) -> Callable:
    return lambda request, seconds: answer(request)


def _answered(calls: Calls, api: str | None, request, context: grpc.ServicerContext, answer: Callable):
    """Return the response, or abort the call with the status of the error; count the call if it has a name."""
    seconds = context.time_remaining()
    # Without a deadline, the remaining time is larger than a session accepts.
    bound = functools.partial(answer, request, None if seconds is None or seconds > _LONGEST_SECONDS else seconds)
    try:
        if api is None:
            return bound()
        with calls.counted(request.model_spec.name, api, "GRPC"):
            return bound()
    except ServingError as error:
        message = error.message
        if len(message) > _LONGEST_MESSAGE:
            message = message[:_LONGEST_MESSAGE] + _CUT
        context.abort(error.code.grpc, message)
    except Exception as error:
        log_failure(error)
        context.abort(Code.INTERNAL.grpc, FAILURE)
