"""HTTP over a plain socket, for clients that send slowly, too much or half a request."""

import contextlib
import json
import time

POST = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /v1/models/m HTTP/1.1\r\nHost: a\r\n\r\n"


def drip(stream, data):
    """Send byte by byte, which takes longer than the server allows, until it hangs up."""
    with contextlib.suppress(OSError):
        for byte in data:
            stream.sendall(bytes([byte]))
            time.sleep(0.05)


def rest_of(stream):
    """Return all that comes until the server hangs up."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := stream.recv(65536):
            parts.append(part)
    return b"".join(parts)


def answer_of(stream):
    """Return status, header lines and body of an answer after which the server hangs up."""
    head, _, body = rest_of(stream).partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    return int(status.split()[1]), headers, json.loads(body)
