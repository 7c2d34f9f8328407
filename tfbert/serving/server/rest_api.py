"""The REST API of TensorFlow Serving as an ASGI application."""

import asyncio
import contextlib
import json
import re
import time
import zlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import unquote

from google.protobuf.json_format import MessageToDict
from tensorflow_serving.apis import classification_pb2, model_pb2, regression_pb2
from tensorflow_serving.apis.get_model_metadata_pb2 import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    SignatureDefMap,
)
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest

from tfbert.serving.server import json_tensor
from tfbert.serving.server.access import FAILURE, Access, log_failure
from tfbert.serving.server.calls import SIGNATURES, Calls, example_of
from tfbert.serving.server.status import Code, ServingError

_POST = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?:(?P<api>classify|regress|predict)",
    re.IGNORECASE,
)
_GET = re.compile(
    r"/v1/models(?:/(?P<name>[^/:]+))?(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?(?:/(?P<api>metadata))?",
    re.IGNORECASE,
)
_LARGEST_VERSION = 2**63 - 1
# The real server takes bodies of any size, and unpacks as many bytes of compressed ones.
MOST_BODY_BYTES = 100 * 2**20
_JSON = (b"content-type", b"application/json")
_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET"),
    (b"access-control-allow-headers", b"Content-Type"),
)
_TOO_LARGE, _TOO_SLOW = 413, 408
# The documented time in which the whole body of a request has to arrive.
BODY_SECONDS = 60.0
# How long a rejected body is still read: if the connection were closed at once, it would break before the client has
# read the response.
_LINGER_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class RestApi:
    """Answers HTTP requests; an ASGI application.

    Args:
        calls: that answer.
        num_threads: that answer at once.
        timeout_seconds: after which a request is given up.
        with_cors: whether pages of other origins may ask.
        metrics_path: where Prometheus finds the metrics; `None` nowhere.
        access: writes a line for each request.
    """

    calls: Calls
    num_threads: int
    timeout_seconds: float = 30.0
    with_cors: bool = False
    metrics_path: str | None = None
    access: Access = Access()

    def __post_init__(self):
        object.__setattr__(self, "_threads", ThreadPoolExecutor(self.num_threads, "rest"))

    async def __call__(self, scope: dict, receive: Callable[[], Awaitable], send: Callable[[dict], Awaitable]) -> None:
        """Handle one request, or the server's startup and shutdown messages."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        started = time.monotonic()
        more = list(_CORS) if self.with_cors else []
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(scope, receive)
        except _GoneError:
            return
        except (_TooLargeError, TimeoutError) as error:
            status, wish = _TOO_LARGE, f"request body has more than {MOST_BODY_BYTES:,} bytes; wanted fewer"
            if isinstance(error, TimeoutError):
                status, wish = _TOO_SLOW, f"request body did not arrive within {BODY_SECONDS:g} seconds"
            await _refuse(scope, receive, send, status, json_tensor.error_body(wish), more)
            self.access.log(scope["method"], scope["path"], status, time.monotonic() - started, 0)
            return
        status, answer, kind = await self._answered(scope, body)
        headers = [kind, (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers + more})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer})
        self.access.log(scope["method"], scope["path"], status, time.monotonic() - started, len(body), body)

    async def _answered(self, scope: dict, body: bytes) -> tuple[int, bytes, tuple[bytes, bytes]]:
        method, path = (
            scope["method"],
            scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0],
        )
        headers = dict(scope["headers"])
        if method == "GET" and path == self.metrics_path:
            return 200, self.calls.metrics.text().encode(), (b"content-type", b"text/plain")
        if not path.lower().startswith("/v1/"):
            return 404, b"<html><body><h1>Not Found</h1></body></html>\n", (b"content-type", b"text/html")
        if method == "OPTIONS":
            origin = headers.get(b"origin", b"")
            known = b"http://" in origin or b"https://" in origin
            return (200, b"", _JSON) if known else (400, json_tensor.error_body("Origin is missing"), _JSON)
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._threads, self._answer, method, path, headers, body)
        return (*answer, _JSON)

    def _answer(self, method: str, path: str, headers: dict, body: bytes) -> tuple[int, bytes]:
        try:
            if headers.get(b"content-encoding", b"").lower() == b"gzip":
                body = _unpacked(body)
            pattern, handle = {"POST": (_POST, self._post), "GET": (_GET, self._get)}.get(method, (None, None))
            found = pattern and pattern.fullmatch(path)
            if not found:
                raise ServingError(Code.INVALID_ARGUMENT, f"Malformed request: {method} {path}")
            spec = _spec_of(found)
            with self.calls.counted(spec.name, (found["api"] or "").lower(), "REST"):
                return 200, handle(spec, (found["api"] or "").lower(), body)
        except ServingError as error:
            return error.code.http, json_tensor.error_body(error.message)
        except Exception as error:
            log_failure(error)
            return Code.INTERNAL.http, json_tensor.error_body(FAILURE)

    def _get(self, spec: model_pb2.ModelSpec, api: str, body: bytes) -> bytes:
        if not spec.name:
            raise ServingError(Code.INVALID_ARGUMENT, "Missing model name in request.")
        if api == "metadata":
            request = GetModelMetadataRequest(model_spec=spec, metadata_field=[SIGNATURES])
            return _metadata(self.calls.metadata(request))
        return json.dumps(_plain(self.calls.status(GetModelStatusRequest(model_spec=spec))), indent=1).encode()

    def _post(self, spec: model_pb2.ModelSpec, api: str, body: bytes) -> bytes:
        if api == "predict":
            return self._predict(spec, body)
        asked = json_tensor.examples_request(body)
        spec.signature_name = asked.signature_name
        request_class = (
            classification_pb2.ClassificationRequest if api == "classify" else regression_pb2.RegressionRequest
        )
        request = request_class(model_spec=spec)
        request.input.example_list.examples.extend(map(example_of, asked.examples))
        if api == "classify":
            result = self.calls.classify(request, self.timeout_seconds).result
            return json_tensor.classify_response(
                [[(one.label, one.score) for one in found.classes] for found in result.classifications]
            )
        result = self.calls.regress(request, self.timeout_seconds).result
        return json_tensor.regress_response([found.value for found in result.regressions])

    def _predict(self, spec: model_pb2.ModelSpec, body: bytes) -> bytes:
        with self.calls.servable(spec) as servable:

            def inputs_of(signature: str) -> dict[str, int]:
                try:
                    return {name: info.dtype for name, info in servable.signature(signature).inputs.items()}
                except ServingError:
                    message = f'Serving signature name: "{signature}" not found in signature def'
                    raise ServingError(Code.INVALID_ARGUMENT, message) from None

            asked = json_tensor.predict_request(body, inputs_of)
            outputs = self.calls.run(servable, asked.signature_name, asked.inputs, (), self.timeout_seconds)
            return json_tensor.predict_response(outputs, asked.is_row)


class _TooLargeError(Exception):
    """A body has too many bytes."""


class _GoneError(Exception):
    """The client has hung up."""


async def _body(scope: dict, receive: Callable[[], Awaitable]) -> bytes:
    """Return the body of a request.

    Raises:
        _TooLargeError: it has too many bytes, by its header or as far as it was read.
        _GoneError: the client hung up before its end.
    """
    # The protocol has checked that it is a number.
    if int(dict(scope["headers"]).get(b"content-length", 0)) > MOST_BODY_BYTES:
        raise _TooLargeError
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        part = message.get("body", b"")
        size += len(part)
        if size > MOST_BODY_BYTES:
            raise _TooLargeError
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def _refuse(
    scope: dict, receive: Callable, send: Callable, status: int, answer: bytes, more: list[tuple[bytes, bytes]]
) -> None:
    """Answer a request whose body was not read to its end, and close the connection."""
    headers = [_JSON, (b"content-length", str(len(answer)).encode()), (b"connection", b"close"), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer, "more_body": True})
    # A client that sent `Expect: 100-continue` has not sent the body, and reading it would request it.
    if status == _TOO_LARGE and b"expect" not in dict(scope["headers"]):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while (await receive()).get("more_body"):
                    pass
    await send({"type": "http.response.body"})


async def _live(receive: Callable[[], Awaitable], send: Callable[[dict], Awaitable]) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _unpacked(body: bytes) -> bytes:
    """Return a gzipped body unpacked.

    Raises:
        ServingError: it is none, or unpacks to too much.
    """
    try:
        unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        found = unpacking.decompress(body, MOST_BODY_BYTES + 1)
    except zlib.error as error:
        raise ServingError(Code.INVALID_ARGUMENT, f"Failed to uncompress the gzipped body: {error}") from None
    if len(found) > MOST_BODY_BYTES or not unpacking.eof:
        wish = f"wanted a whole one of at most {MOST_BODY_BYTES:,} bytes"
        raise ServingError(Code.INVALID_ARGUMENT, f"Failed to uncompress the gzipped body; {wish}")
    return found


def _metadata(answer: GetModelMetadataResponse) -> bytes:
    """Return the signatures of a model as JSON, without the types that protobuf's own JSON has in this place."""
    signatures = SignatureDefMap()
    answer.metadata[SIGNATURES].Unpack(signatures)
    spec = {"name": answer.model_spec.name, "signature_name": "", "version": str(answer.model_spec.version.value)}
    found = {"model_spec": spec, "metadata": {SIGNATURES: _plain(signatures)}}
    return json.dumps(found, indent=1).encode()


def _plain(message) -> dict:
    return MessageToDict(message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True)


def _spec_of(found: re.Match) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=unquote(found["name"] or ""))
    if found["version"]:
        if int(found["version"]) > _LARGEST_VERSION:
            raise ServingError(Code.INVALID_ARGUMENT, f"Failed to convert version: {found['version']} to numeric.")
        spec.version.value = int(found["version"])
    if found["label"]:
        spec.version_label = unquote(found["label"])
    return spec
