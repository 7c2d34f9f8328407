"""Shared by the REST and gRPC clients: connection settings, errors, and the inputs of a signature."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Prefixes of gRPC addresses, and of addresses with TLS.
GRPC, GRPC_TLS, REST_TLS = "grpc://", "grpcs://", "https://"


class ServerError(OSError):
    """A request failed.

    Args:
        message: the server's error message, or a description of the connection error.
        status: HTTP status, or TensorFlow Serving's HTTP equivalent of a gRPC status; `None` if no response was
            received. Over gRPC, a connection that broke during the call is indistinguishable from status 503.
        can_repeat: whether the server has not processed the request, so that it is safe to send it again.
    """

    def __init__(self, message: str, status: int | None = None, can_repeat: bool = False):
        super().__init__(message)
        self.status, self.can_repeat = status, can_repeat


@dataclass(frozen=True)
class Connection:
    """How to reach a server; the fields are those of `Client`."""

    address: str
    timeout_seconds: float
    headers: Mapping[str, str]
    ca_path: str | None


def signature_inputs(metadata: Mapping[str, Any], signature: str, address: str) -> dict[str, dict]:
    """Return the `TensorInfo` of each input of a signature, as JSON.

    Args:
        metadata: the server's response to a metadata request.
        signature: the name of the signature.
        address: the server's address, for the error message.

    Raises:
        ServerError: the model has no such signature.
    """
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    if signature not in signatures:
        raise ServerError(f"{address}: no signature {signature!r} among {', '.join(sorted(signatures))}")
    return signatures[signature]["inputs"]
