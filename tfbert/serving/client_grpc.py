"""The half of the client that speaks gRPC: a batch of items in, their answers out, as REST gives them."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from tfbert.serving.connection import GRPC, GRPC_TLS, Connection, ServerError, inputs_of
from tfbert.serving.server.status import Code
from tfbert.serving.tensors import api_messages, of_tensor, to_tensor

_OPTIONS = [
    # Clients take 4 MB unless told, the server sends what there is.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Until this has passed, a channel fails without another try to connect; the retries of `Client` come sooner
    # than its usual second, which doubles and doubles again.
    ("grpc.max_reconnect_backoff_ms", 100),
    # Neither does REST go through a proxy that the environment names.
    ("grpc.enable_http_proxy", 0),
]
# How gRPC says that a request has not left this machine, and TensorFlow Serving that it turned one away. Both have
# the code UNAVAILABLE, as has a connection that broke on the way; what is none of these is not asked again.
_NOT_DELIVERED = ("failed to connect to all addresses", "errors resolving")
_FULL_QUEUE = "queue to which this task was submitted is full"


class Grpc:
    """Asks over gRPC, once; what the inputs of the model are is asked once for all.

    Args:
        connection: to `grpc://host:port`, or `grpcs://host:port` with TLS.
        model: its name there.
        version: a number; `None` takes the server's choice.
    """

    def __init__(self, connection: Connection, model: str, version: int | None):
        self.address, self.model, self.version = connection.address, model, version
        self.timeout_seconds, self._metadata = connection.timeout_seconds, list(connection.headers.items())
        if connection.address.startswith(GRPC_TLS):
            roots = Path(connection.ca_path).read_bytes() if connection.ca_path else None
            place, credentials = connection.address.removeprefix(GRPC_TLS), grpc.ssl_channel_credentials(roots)
            self._channel = grpc.secure_channel(place, credentials, options=_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(connection.address.removeprefix(GRPC), options=_OPTIONS)

    def predict(self, items: Sequence, signature: str) -> list:
        """Return the answer to each item.

        Raises:
            ServerError: the server says no, or nothing, or what this client cannot read.
            ValueError: items do not fit the signature.
        """
        inputs = inputs_of(self._known_metadata, signature, self.address)
        request = self._asked("PredictRequest", signature)
        for name, values in _columns(items, inputs).items():
            try:
                request.inputs[name].CopyFrom(to_tensor(values, inputs[name]["dtype"]))
            except ValueError as error:
                raise ValueError(f"input {name}: {error}") from None
        answer = self._call("Predict", request, "PredictResponse")
        columns = {name: self._column(name, tensor, len(items)) for name, tensor in sorted(answer.outputs.items())}
        if len(columns) == 1:
            return next(iter(columns.values()))
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def metadata(self) -> dict:
        """Return the signatures of the model, as REST tells them.

        Raises:
            ServerError: no version is available.
        """
        request = self._asked("GetModelMetadataRequest")
        request.metadata_field.append("signature_def")
        answer = self._call("GetModelMetadata", request, "GetModelMetadataResponse")
        signatures = api_messages()["SignatureDefMap"].FromString(answer.metadata["signature_def"].value)
        return {"model_spec": _json(answer.model_spec), "metadata": {"signature_def": _json(signatures)}}

    @functools.cached_property
    def _known_metadata(self) -> dict:
        return self.metadata()

    def _asked(self, kind: str, signature: str = "") -> Message:
        request = api_messages()[kind]()
        request.model_spec.name, request.model_spec.signature_name = self.model, signature
        if self.version is not None:
            request.model_spec.version.value = self.version
        return request

    def _call(self, method: str, request: Message, answer: str) -> Message:
        call = self._channel.unary_unary(
            f"/tensorflow.serving.PredictionService/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=api_messages()[answer].FromString,
        )
        try:
            return call(request, timeout=self.timeout_seconds, metadata=self._metadata)
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
            shape, values = of_tensor(tensor)
        except ValueError as error:
            raise ServerError(f"{self.address}: output {name}: {error}") from None
        if shape[:1] != (num_items,):
            wish = f"wanted one value for each of {num_items} items"
            raise ServerError(f"{self.address}: output {name} has the shape {shape}; {wish}")
        return values


def _columns(items: Sequence, inputs: Mapping[str, Any]) -> dict[str, list]:
    """Return the values of all items by input; of an item that is no mapping, it is that of the only input."""
    (only,) = inputs if len(inputs) == 1 else (None,)
    rows = [item if isinstance(item, Mapping) or only is None else {only: item} for item in items]
    for row in rows:
        if not isinstance(row, Mapping) or row.keys() != inputs.keys():
            found = ", ".join(sorted(row)) if isinstance(row, Mapping) else type(row).__name__
            raise ValueError(f"an item has {found}; wanted the inputs {', '.join(sorted(inputs))}")
    return {name: [row[name] for row in rows] for name in inputs}


def _json(message: Message) -> dict:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
