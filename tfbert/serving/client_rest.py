"""The REST client: sends batches of items to TensorFlow Serving with the standard library alone."""

import base64
import functools
import http.client
import json
import ssl
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from tfbert.serving.connection import GRPC, REST_TLS, Connection, ServerError

# Statuses of requests that the server has not processed.
_REJECTED = (429, 503)


class Rest:
    """Sends single requests over REST, without retries.

    Args:
        connection: address `host:port`, or `https://host:port` with TLS.
        model: the model's name on the server.
        version: the model's version; `None` lets the server choose.

    Raises:
        OSError: the CA file cannot be read.
    """

    def __init__(self, connection: Connection, model: str, version: int | None):
        self.address, self._headers = connection.address, connection.headers
        if connection.address.startswith(REST_TLS):
            context = ssl.create_default_context(cafile=connection.ca_path)
            connection_class = functools.partial(http.client.HTTPSConnection, context=context)
        else:
            connection_class = http.client.HTTPConnection
        self._connect = functools.partial(
            connection_class, connection.address.removeprefix(REST_TLS), timeout=connection.timeout_seconds
        )
        name = urllib.parse.quote(model, safe="")
        self.path = f"/v1/models/{name}" + ("" if version is None else f"/versions/{version}")

    def predict(self, items: Sequence, signature: str) -> list:
        """Return the prediction for each item.

        Raises:
            ServerError: the server returned an error, did not respond, or sent a malformed response.
        """
        body = {"signature_name": signature, "instances": [_json_value(item) for item in items]}
        predictions = self.request("POST", self.path + ":predict", json.dumps(body).encode()).get("predictions")
        if not isinstance(predictions, list) or len(predictions) != len(items):
            count = len(predictions or [])
            raise ServerError(f"{self.address}: returned {count} predictions for {len(items)} items")
        return predictions

    def metadata(self) -> dict:
        """Return the model's signatures.

        Raises:
            ServerError: no version is available.
        """
        return self.request("GET", self.path + "/metadata")

    def request(self, method: str, path: str, body: bytes | None = None) -> dict:
        """Send one request and return the JSON object of the response.

        Args:
            method: the HTTP method.
            path: the path from `/v1` on.
            body: JSON.

        Raises:
            ServerError: the server returned an error, did not respond, or sent something other than a JSON object.
        """
        status, response = self._exchange(method, path, body)
        if status != 200:
            message = f"{self.address}: {response.get('error', f'HTTP status {status}')}"
            raise ServerError(message, status, can_repeat=status in _REJECTED)
        return response

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
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise ServerError(f"{self.address}: {self._describe(error)}") from error
            return response.status, _parse(content, response.status, self.address)
        finally:
            connection.close()

    def _describe(self, error: Exception) -> str:
        # Not `isinstance`: the exception for a broken connection is a subclass of BadStatusLine.
        if type(error) is http.client.BadStatusLine:
            return f"does not speak HTTP; if this is a gRPC port, use the address {GRPC}{self.address}"
        return f"no response ({type(error).__name__}: {error})"


def _parse(content: bytes, status: int, address: str) -> dict:
    try:
        parsed = json.loads(content)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        return parsed
    if status == 200:
        raise ServerError(f"{address}: the response is not a JSON object", status)
    return {}


def _json_value(item: Any) -> Any:
    """Return an item for JSON: bytes as base64, tuples as lists."""
    if isinstance(item, bytes):
        return {"b64": base64.b64encode(item).decode()}
    if isinstance(item, Mapping):
        return {name: _json_value(value) for name, value in item.items()}
    if isinstance(item, Sequence) and not isinstance(item, str):
        return [_json_value(value) for value in item]
    return item
