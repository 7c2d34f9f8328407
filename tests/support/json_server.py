"""HTTP servers in a thread of this process that respond with JSON."""

import contextlib
import http.server
import json
import socket
import threading
from collections import deque
from collections.abc import Iterator


class JsonHandler(http.server.BaseHTTPRequestHandler):
    """Sends JSON and logs nothing."""

    def send_json(self, value, status=200):
        """Send a value as JSON, or bytes unchanged."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Keep requests out of the tests' output."""


class EchoHandler(JsonHandler):
    """Sends the responses that a test has put into `server.responses`, and echoes the inputs if there are none.

    A response is a status and a body; a status of `None` breaks the connection. The server records the paths and bodies
    of requests in `requests`, and their headers in `headers`.
    """

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, body))
        self.server.headers.append(self.headers)
        self.respond({"predictions": [{"of": instance} for instance in body["instances"]]})

    def do_GET(self):
        self.server.requests.append((self.path, None))
        self.respond({"metadata": {"signature_def": {}}})

    def respond(self, default):
        status, body = self.server.responses.popleft() if self.server.responses else (200, default)
        if status is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_json(body, status)


@contextlib.contextmanager
def running(handler: type[JsonHandler]) -> Iterator[http.server.ThreadingHTTPServer]:
    """Run a server on a free port of this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.requests, server.responses, server.headers = [], deque(), []
    # A shorter polling interval than the default, so that the server stops sooner.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
