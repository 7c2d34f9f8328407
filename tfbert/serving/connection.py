"""What both protocols of the client share: how a server is reached, what a model says of itself, and what fails."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What an address of gRPC begins with, and what those with TLS do.
GRPC, GRPC_TLS, REST_TLS = "grpc://", "grpcs://", "https://"


class ServerError(OSError):
    """A server did not answer what it was asked.

    Args:
        message: its own, or what went wrong on the way.
        status: of HTTP, or what TensorFlow Serving makes of the one of gRPC; `None` where there was no answer, as far
            as can be told: over gRPC, a connection that breaks on the way looks like a 503.
        can_repeat: whether nothing was done, so that asking again can do no harm.
    """

    def __init__(self, message: str, status: int | None = None, can_repeat: bool = False):
        super().__init__(message)
        self.status, self.can_repeat = status, can_repeat


@dataclass(frozen=True)
class Connection:
    """How a server is reached; as in `Client`."""

    address: str
    timeout_seconds: float
    headers: Mapping[str, str]
    ca_path: str | None


def inputs_of(metadata: Mapping[str, Any], signature: str, address: str) -> dict[str, dict]:
    """Return what the metadata of a model says of each input of a signature.

    Raises:
        ServerError: there is no such signature.
    """
    known = metadata["metadata"]["signature_def"]["signature_def"]
    if signature not in known:
        raise ServerError(f"{address}: no signature {signature!r} among {', '.join(sorted(known))}")
    return known[signature]["inputs"]
