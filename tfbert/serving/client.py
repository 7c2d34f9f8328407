"""A client of TensorFlow Serving's REST and gRPC APIs, without TensorFlow.

REST needs the standard library alone, gRPC the package `grpcio`.
"""

import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tfbert.extras import import_library
from tfbert.serving.client_rest import Rest
from tfbert.serving.connection import GRPC, GRPC_TLS, Connection, ServerError, signature_inputs
from tfbert.serving.input_spec import InputSpec

_FIRST_WAIT_SECONDS = 0.2


class Client:
    """Sends requests to one model of a server. It is thread-safe.

    Args:
        address: `host:port` for REST, which opens a connection per request, or `grpc://host:port` for gRPC, which
            shares one connection and needs the packages `grpcio` and `protobuf`. With TLS: `https://host:port` and
            `grpcs://host:port`.
        model: the model's name on the server.
        version: the model's version; `None` lets the server choose.
        timeout_seconds: time limit of each request.
        retries: how often a request is repeated that the server rejected (REST: 429, 503; gRPC: RESOURCE_EXHAUSTED or
            a full queue) or that could not be delivered. A request that may have been processed is never repeated.
        batch_size: number of items per request.
        headers: sent with every request, such as a proxy's API key; names in lower case.
        ca_path: file with the CA certificates to trust; `None` for those of the system.

    Raises:
        ValueError: a package that gRPC needs is missing.
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
        connection = Connection(address, timeout_seconds, dict(headers or {}), ca_path)
        self.transport = _transport(address)(connection, model, version)

    def predict(self, items: Iterable[Any], signature: str = "serving_default") -> Iterator[Any]:
        """Yield the prediction for each item, in order.

        Args:
            items: texts, or mappings from input name to value if the signature has several inputs; bytes are sent
                unchanged. Items are read lazily, batch by batch.
            signature: the name of the signature.

        Raises:
            ServerError: the server returned an error or did not respond.
            ValueError: items do not fit the signature. Only the gRPC client checks this; over REST the server does.
        """
        stream = iter(items)
        while batch := list(itertools.islice(stream, self.batch_size)):
            yield from self._with_retries(self.transport.predict, batch, signature)

    def metadata(self) -> dict:
        """Return the model's signatures in the format of the REST API.

        Raises:
            ServerError: no version is available.
        """
        return self._with_retries(self.transport.metadata)

    def inputs(self, signature: str = "serving_default") -> dict[str, InputSpec]:
        """Return the inputs of a signature by name.

        Raises:
            ServerError: no version is available, or it has no such signature.
        """
        infos = signature_inputs(self.metadata(), signature, self.address)
        return {name: InputSpec.from_metadata(info) for name, info in sorted(infos.items())}

    def is_ready(self) -> bool:
        """Return whether a version of the model is available."""
        try:
            self.metadata()
        except ServerError:
            return False
        return True

    def _with_retries(self, send: Callable, *arguments: Any) -> Any:
        wait = _FIRST_WAIT_SECONDS
        for attempt in itertools.count():
            try:
                return send(*arguments)
            except ServerError as error:
                if not error.can_repeat or attempt == self.retries:
                    raise
            # Jitter keeps clients that were rejected together from retrying together.
            time.sleep(wait * random.uniform(0.5, 1))
            wait *= 2
        raise AssertionError("unreachable")


def _transport(address: str) -> Callable:
    """Return the client class for the protocol of an address."""
    if not address.startswith((GRPC, GRPC_TLS)):
        return Rest
    return import_library("tfbert.serving.client_grpc", address, "grpc").Grpc
