"""Texts in, a server's answers out: a small client of TensorFlow Serving's API that needs nothing but Python.

It speaks REST, with the standard library alone.
"""

import base64
import http.client
import itertools
import json
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

# Nothing was done, or not by this server: asking again can do no harm.
_AGAIN = (429, 503)
_FIRST_WAIT_SECONDS = 0.2


class ServerError(OSError):
    """A server did not answer what it was asked.

    Args:
        message: its own, or what went wrong on the way.
        status: of HTTP; `None` where there was no answer.
    """

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class Client:
    """Asks one model of a server. May be used by several threads, each of which has a connection of its own call.

    Args:
        address: `host:port` of the server.
        model: its name there.
        version: a number; `None` takes the server's choice.
        timeout_seconds: of each request.
        retries: how often a request is sent again that was turned away (429, 503) or could not be delivered. One that
            may have been answered is never sent again.
        batch_size: items in a request.
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
    ):
        self.address, self.model, self.version = address, model, version
        self.timeout_seconds, self.retries, self.batch_size = timeout_seconds, retries, batch_size

    def predict(self, items: Iterable[Any], signature: str = "serving_default") -> Iterator[Any]:
        """Yield the answer to each item, in order.

        Args:
            items: texts, or mappings from input to value where a signature has several; bytes are sent as such. Any
                number; they are read as they are needed.
            signature: of the model.

        Raises:
            ServerError: the server says no, or nothing.
        """
        stream = iter(items)
        while batch := list(itertools.islice(stream, self.batch_size)):
            said = self._post(":predict", {"signature_name": signature, "instances": [_plain(item) for item in batch]})
            answers = said.get("predictions")
            if not isinstance(answers, list) or len(answers) != len(batch):
                raise ServerError(f"{self.address}: answered {len(answers or [])} of {len(batch)} items")
            yield from answers

    def metadata(self) -> dict:
        """Return the signatures of the model.

        Raises:
            ServerError: no version is available.
        """
        return self._request("GET", self._path() + "/metadata")

    def input_ranks(self, signature: str = "serving_default") -> dict[str, int]:
        """Return the inputs of a signature: 1 for one value of each item, 2 for several.

        Raises:
            ServerError: no version is available, or it has no such signature.
        """
        known = self.metadata()["metadata"]["signature_def"]["signature_def"]
        if signature not in known:
            raise ServerError(f"{self.address}: no signature {signature!r} among {', '.join(sorted(known))}")
        inputs = known[signature]["inputs"]
        return {name: len(info["tensor_shape"]["dim"]) for name, info in sorted(inputs.items())}

    def is_ready(self) -> bool:
        """Say whether a version is available."""
        try:
            self.metadata()
        except ServerError:
            return False
        return True

    def _path(self) -> str:
        from urllib.parse import quote

        version = "" if self.version is None else f"/versions/{self.version}"
        return f"/v1/models/{quote(self.model, safe='')}{version}"

    def _post(self, api: str, body: Mapping[str, Any]) -> dict:
        return self._request("POST", self._path() + api, json.dumps(body).encode())

    def _request(self, method: str, path: str, body: bytes | None = None) -> dict:
        wait = _FIRST_WAIT_SECONDS
        for attempt in itertools.count():
            try:
                status, answer = self._once(method, path, body)
            except _NotDeliveredError as error:
                if attempt == self.retries:
                    raise ServerError(f"{self.address}: {error}") from error
            else:
                if status == 200:
                    return answer
                if status not in _AGAIN or attempt == self.retries:
                    raise ServerError(f"{self.address}: {answer.get('error', f'HTTP status {status}')}", status)
            # With chance in it, so that clients that were turned away together do not come back together.
            time.sleep(wait * random.uniform(0.5, 1))
            wait *= 2
        raise AssertionError("unreachable")

    def _once(self, method: str, path: str, body: bytes | None) -> tuple[int, dict]:
        connection = http.client.HTTPConnection(self.address, timeout=self.timeout_seconds)
        try:
            try:
                connection.connect()
            except OSError as error:
                raise _NotDeliveredError(f"cannot be reached ({error})") from error
            headers = {"Content-Type": "application/json"} if body is not None else {}
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                text = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise ServerError(f"{self.address}: no answer ({type(error).__name__}: {error})") from error
            return response.status, _read(text, response.status, self.address)
        finally:
            connection.close()


class _NotDeliveredError(Exception):
    """A request has not left this machine."""


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
