"""The gRPC client: sends batches of items to TensorFlow Serving and returns predictions in the format of REST."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from tfbert.serving.connection import GRPC, GRPC_TLS, Connection, ServerError, signature_inputs
from tfbert.serving.server.status import Code
from tfbert.serving.tensors import api_messages, from_tensor, to_tensor

_OPTIONS = [
    # The default limit of a client is 4 MB.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A channel fails without trying to connect until this time has passed. The default of one second, which doubles
    # after each attempt, is longer than the retries of `Client` wait.
    ("grpc.max_reconnect_backoff_ms", 100),
    # Like the REST client, ignore proxies set in the environment.
    ("grpc.enable_http_proxy", 0),
]
# Messages of gRPC for a request that was not sent, and of TensorFlow Serving for one that it rejected. Both have the
# code UNAVAILABLE, as does a connection that broke during the call; other requests are therefore not repeated.
_NOT_DELIVERED = ("failed to connect to all addresses", "errors resolving")
_FULL_QUEUE = "queue to which this task was submitted is full"


class Grpc:
    """Sends single requests over gRPC, without retries. The model's metadata is requested only once.

    Args:
        connection: address `grpc://host:port`, or `grpcs://host:port` with TLS.
        model: the model's name on the server.
        version: the model's version; `None` lets the server choose.
    """

    def __init__(self, connection: Connection, model: str, version: int | None):
        self.address, self.model, self.version = connection.address, model, version
        self.timeout_seconds, self._headers = connection.timeout_seconds, list(connection.headers.items())
        if connection.address.startswith(GRPC_TLS):
            roots = Path(connection.ca_path).read_bytes() if connection.ca_path else None
            target, credentials = connection.address.removeprefix(GRPC_TLS), grpc.ssl_channel_credentials(roots)
            self._channel = grpc.secure_channel(target, credentials, options=_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(connection.address.removeprefix(GRPC), options=_OPTIONS)

    def predict(self, items: Sequence, signature: str) -> list:
        """Return the prediction for each item.

        Raises:
            ServerError: the server returned an error, did not respond, or sent a malformed response.
            ValueError: items do not fit the signature.
        """
        inputs = signature_inputs(self._known_metadata, signature, self.address)
        request = self._request("PredictRequest", signature)
        for name, values in _columns(items, inputs).items():
            try:
                request.inputs[name].CopyFrom(to_tensor(values, inputs[name]["dtype"]))
            except ValueError as error:
                raise ValueError(f"input {name}: {error}") from None
        response = self._call("Predict", request, "PredictResponse")
        columns = {name: self._column(name, tensor, len(items)) for name, tensor in sorted(response.outputs.items())}
        if len(columns) == 1:
            return next(iter(columns.values()))
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def metadata(self) -> dict:
        """Return the model's signatures in the format of the REST API.

        Raises:
            ServerError: no version is available.
        """
        request = self._request("GetModelMetadataRequest")
        request.metadata_field.append("signature_def")
        response = self._call("GetModelMetadata", request, "GetModelMetadataResponse")
        signatures = api_messages()["SignatureDefMap"].FromString(response.metadata["signature_def"].value)
        return {"model_spec": _json(response.model_spec), "metadata": {"signature_def": _json(signatures)}}

    @functools.cached_property
    def _known_metadata(self) -> dict:
        return self.metadata()

    def _request(self, message_name: str, signature: str = "") -> Message:
        request = api_messages()[message_name]()
        request.model_spec.name, request.model_spec.signature_name = self.model, signature
        if self.version is not None:
            request.model_spec.version.value = self.version
        return request

    def _call(self, method: str, request: Message, response_name: str) -> Message:
        call = self._channel.unary_unary(
            f"/tensorflow.serving.PredictionService/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=api_messages()[response_name].FromString,
        )
        try:
            return call(request, timeout=self.timeout_seconds, metadata=self._headers)
        except grpc.RpcError as error:
            raise self._failure(error.code(), error.details() or "") from error

    def _failure(self, code: grpc.StatusCode, message: str) -> ServerError:
        if code is grpc.StatusCode.UNAVAILABLE and message.startswith(_NOT_DELIVERED):
            return ServerError(f"{self.address}: cannot be reached ({message})", can_repeat=True)
        is_full = code is grpc.StatusCode.UNAVAILABLE and _FULL_QUEUE in message
        can_repeat = is_full or code is grpc.StatusCode.RESOURCE_EXHAUSTED
        return ServerError(f"{self.address}: {message}", Code[code.name].http, can_repeat)

    def _column(self, name: str, tensor: Message, num_items: int) -> list:
        try:
            shape, values = from_tensor(tensor)
        except ValueError as error:
            raise ServerError(f"{self.address}: output {name}: {error}") from None
        if shape[:1] != (num_items,):
            expected = f"expected one value for each of {num_items} items"
            raise ServerError(f"{self.address}: output {name} has the shape {shape}; {expected}")
        return values


def _columns(items: Sequence, inputs: Mapping[str, Any]) -> dict[str, list]:
    """Return the values of all items by input; an item that is not a mapping is the value of the only input."""
    (only,) = inputs if len(inputs) == 1 else (None,)
    rows = [item if isinstance(item, Mapping) or only is None else {only: item} for item in items]
    for row in rows:
        if not isinstance(row, Mapping) or row.keys() != inputs.keys():
            given = ", ".join(sorted(row)) if isinstance(row, Mapping) else type(row).__name__
            raise ValueError(f"an item has {given}; expected the inputs {', '.join(sorted(inputs))}")
    return {name: [row[name] for row in rows] for name in inputs}


def _json(message: Message) -> dict:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
