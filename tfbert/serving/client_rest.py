"""The half of the client that speaks REST, with the standard library alone: a batch of items in, their answers out."""

import base64
import functools
import http.client
import json
import ssl
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from tfbert.serving.connection import GRPC, REST_TLS, Connection, ServerError

# Nothing was done, or not by this server.
_AGAIN = (429, 503)


class Rest:
    """Asks over REST, once.

    Args:
        connection: to `host:port`, or `https://host:port` with TLS.
        model: its name there.
        version: a number; `None` takes the server's choice.

    Raises:
        OSError: the file with certificates cannot be read.
    """

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
        """Return the answer to each item.

        Raises:
            ServerError: the server says no, or nothing, or what this client cannot read.
        """
        body = {"signature_name": signature, "instances": [_plain(item) for item in items]}
        answers = self.request("POST", self.path + ":predict", json.dumps(body).encode()).get("predictions")
        if not isinstance(answers, list) or len(answers) != len(items):
            raise ServerError(f"{self.address}: answered {len(answers or [])} of {len(items)} items")
        return answers

    def metadata(self) -> dict:
        """Return the signatures of the model.

        Raises:
            ServerError: no version is available.
        """
        return self.request("GET", self.path + "/metadata")

    def request(self, method: str, path: str, body: bytes | None = None) -> dict:
        """Return what the server says to one request.

        Args:
            method: of HTTP.
            path: from `/v1` on.
            body: JSON.

        Raises:
            ServerError: the server says no, or nothing, or what is no JSON object.
        """
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
