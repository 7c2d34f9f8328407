"""Texts in, a server's answers out: a small client of TensorFlow Serving's API, without TensorFlow.

It speaks REST with the standard library alone, and gRPC by the package `grpcio`.
"""

import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tfbert.serving.client_rest import Rest
from tfbert.serving.connection import GRPC, GRPC_TLS, Connection, ServerError, inputs_of

_FIRST_WAIT_SECONDS = 0.2


class Client:
    """Asks one model of a server. May be used by several threads.

    Args:
        address: `host:port` of REST, where each request has a connection of its own; or `grpc://host:port` of gRPC,
            where all share one, which needs the packages `grpcio` and `protobuf`. With TLS: `https://host:port` and
            `grpcs://host:port`.
        model: its name there.
        version: a number; `None` takes the server's choice.
        timeout_seconds: of each request.
        retries: how often a request is sent again that was turned away (REST: 429, 503; gRPC: RESOURCE_EXHAUSTED, a
            full queue) or could not be delivered. One that may have been answered is never sent again.
        batch_size: items in a request.
        headers: sent with every request, such as the key that a proxy asks for; names in lower case.
        ca_path: file with the certificates that the server's is signed by; `None` takes those of the system.

    Raises:
        ValueError: gRPC is asked for, and a package that it needs is missing.
        OSError: `ca_path` cannot be read.
    """

    def __init__(
        self,
        address: str,
        model: str = "default",
        *,
        version: int | None = None,
        timeout_seconds: float = 30.0,
        retries: int = 3,
        batch_size: int = 64,
        headers: Mapping[str, str] | None = None,
        ca_path: str | None = None,
    ):
        self.address, self.model = address, model
        self.retries, self.batch_size = retries, batch_size
        said = Connection(address, timeout_seconds, dict(headers or {}), ca_path)
        self.transport = _transport(address)(said, model, version)

    def predict(self, items: Iterable[Any], signature: str = "serving_default") -> Iterator[Any]:
        """Yield the answer to each item, in order.

        Args:
            items: texts, or mappings from input to value where a signature has several; bytes are sent as such. Any
                number; they are read as they are needed.
            signature: of the model.

        Raises:
            ServerError: the server says no, or nothing.
            ValueError: over gRPC, where the client and not the server finds that items do not fit the signature.
        """
        stream = iter(items)
        while batch := list(itertools.islice(stream, self.batch_size)):
            yield from self._repeated(self.transport.predict, batch, signature)

    def metadata(self) -> dict:
        """Return the signatures of the model, as REST tells them.

        Raises:
            ServerError: no version is available.
        """
        return self._repeated(self.transport.metadata)

    def input_ranks(self, signature: str = "serving_default") -> dict[str, int]:
        """Return the inputs of a signature: 1 for one value of each item, 2 for several.

        Raises:
            ServerError: no version is available, or it has no such signature.
        """
        inputs = inputs_of(self.metadata(), signature, self.address)
        return {name: len(info["tensor_shape"]["dim"]) for name, info in sorted(inputs.items())}

    def is_ready(self) -> bool:
        """Say whether a version is available."""
        try:
            self.metadata()
        except ServerError:
            return False
        return True

    def _repeated(self, ask: Callable, *arguments: Any) -> Any:
        wait = _FIRST_WAIT_SECONDS
        for attempt in itertools.count():
            try:
                return ask(*arguments)
            except ServerError as error:
                if not error.can_repeat or attempt == self.retries:
                    raise
            # With chance in it, so that clients that were turned away together do not come back together.
            time.sleep(wait * random.uniform(0.5, 1))
            wait *= 2
        raise AssertionError("unreachable")


def _transport(address: str) -> Callable:
    """Return what makes the half of a client that speaks the protocol of an address."""
    if not address.startswith((GRPC, GRPC_TLS)):
        return Rest
    try:
        from tfbert.serving.client_grpc import Grpc
    except ModuleNotFoundError as error:
        wish = "wanted the extra `grpc`: pip install '.[grpc]' in the checkout"
        raise ValueError(f"{address}: {error}; {wish}") from None
    return Grpc
