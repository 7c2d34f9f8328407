"""Texts in, a server's answers out: a small client of TensorFlow Serving's API, without TensorFlow.

It speaks REST with the standard library alone, and gRPC by the package `grpcio`.
"""

import base64
import functools
import http.client
import itertools
import json
import random
import ssl
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# What an address of gRPC begins with, and what those with TLS do.
GRPC, GRPC_TLS, REST_TLS = "grpc://", "grpcs://", "https://"
# Nothing was done, or not by this server.
_AGAIN = (429, 503)
_FIRST_WAIT_SECONDS = 0.2


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


def inputs_of(metadata: Mapping[str, Any], signature: str, address: str) -> dict[str, dict]:
    """Return what the metadata of a model says of each input of a signature.

    Raises:
        ServerError: there is no such signature.
    """
    known = metadata["metadata"]["signature_def"]["signature_def"]
    if signature not in known:
        raise ServerError(f"{address}: no signature {signature!r} among {', '.join(sorted(known))}")
    return known[signature]["inputs"]


def _transport(address: str) -> Callable:
    """Return what makes the half of a client that speaks the protocol of an address."""
    if not address.startswith((GRPC, GRPC_TLS)):
        return _Rest
    try:
        from tfbert.serving.client_grpc import Grpc
    except ModuleNotFoundError as error:
        wish = "wanted the extra `grpc`: pip install '.[grpc]' in the checkout"
        raise ValueError(f"{address}: {error}; {wish}") from None
    return Grpc


class _Rest:
    """Asks over REST, once."""

    def __init__(self, connection: Connection, model: str, version: int | None):
        self.address, self._headers = connection.address, connection.headers
        if connection.address.startswith(REST_TLS):
            context = ssl.create_default_context(cafile=connection.ca_path)
            kind = functools.partial(http.client.HTTPSConnection, context=context)
        else:
            kind = http.client.HTTPConnection
        self._connect = functools.partial(
            kind, connection.address.removeprefix(REST_TLS), timeout=connection.timeout_seconds
        )
        name = urllib.parse.quote(model, safe="")
        self.path = f"/v1/models/{name}" + ("" if version is None else f"/versions/{version}")

    def predict(self, items: Sequence, signature: str) -> list:
        body = {"signature_name": signature, "instances": [_plain(item) for item in items]}
        answers = self.request("POST", self.path + ":predict", json.dumps(body).encode()).get("predictions")
        if not isinstance(answers, list) or len(answers) != len(items):
            raise ServerError(f"{self.address}: answered {len(answers or [])} of {len(items)} items")
        return answers

    def metadata(self) -> dict:
        return self.request("GET", self.path + "/metadata")

    def request(self, method: str, path: str, body: bytes | None = None) -> dict:
        status, answer = self._exchange(method, path, body)
        if status != 200:
            message = f"{self.address}: {answer.get('error', f'HTTP status {status}')}"
            raise ServerError(message, status, can_repeat=status in _AGAIN)
        return answer

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, dict]:
        connection = self._connect()
        try:
            try:
                connection.connect()
            except OSError as error:
                raise ServerError(f"{self.address}: cannot be reached ({error})", can_repeat=True) from error
            headers = self._headers | ({"content-type": "application/json"} if body is not None else {})
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                text = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise ServerError(f"{self.address}: {self._silence(error)}") from error
            return response.status, _read(text, response.status, self.address)
        finally:
            connection.close()

    def _silence(self, error: Exception) -> str:
        # Exactly this one: a connection that breaks has a kind of it, too.
        if type(error) is http.client.BadStatusLine:
            return f"does not speak HTTP; if it is a port of gRPC, its address is {GRPC}{self.address}"
        return f"no answer ({type(error).__name__}: {error})"


def _read(text: bytes, status: int, address: str) -> dict:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    if status == 200:
        raise ServerError(f"{address}: answered what is no JSON object", status)
    return {}


def _plain(item: Any) -> Any:
    if isinstance(item, bytes):
        return {"b64": base64.b64encode(item).decode()}
    if isinstance(item, Mapping):
        return {name: _plain(value) for name, value in item.items()}
    if isinstance(item, Sequence) and not isinstance(item, str):
        return [_plain(value) for value in item]
    return item
