"""HTTP over a plain socket, for clients that send slowly, too much, or an incomplete request."""

import contextlib
import json
import time

POST = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /v1/models/m HTTP/1.1\r\nHost: a\r\n\r\n"


def drip(stream, data):
    """Send byte by byte, slower than the server allows, until it closes the connection."""
    with contextlib.suppress(OSError):
        for byte in data:
            stream.sendall(bytes([byte]))
            time.sleep(0.05)


def rest_of(stream):
    """Return everything received until the server closes the connection."""
    chunks = []
    with contextlib.suppress(ConnectionResetError):
        while chunk := stream.recv(65536):
            chunks.append(chunk)
    return b"".join(chunks)


def answer_of(stream):
    """Return the status, header lines and body of a response after which the server closes the connection."""
    head, _, body = rest_of(stream).partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    return int(status.split()[1]), headers, json.loads(body)
