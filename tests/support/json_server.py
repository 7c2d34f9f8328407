"""HTTP servers in a thread of this process that answer with JSON."""

import contextlib
import http.server
import json
import socket
import threading
from collections import deque
from collections.abc import Iterator


class JsonHandler(http.server.BaseHTTPRequestHandler):
    """Sends JSON, and logs nothing."""

    def send_json(self, value, status=200):
        """Send a value as JSON, or bytes as they are."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Keep requests out of the tests' output."""


class EchoHandler(JsonHandler):
    """Sends what the test put into `server.answers`, and echoes where there is nothing.

    An answer is a status and a body; a status of `None` breaks the connection. The server has `answers`, and remembers
    `seen` (paths and bodies) and `headers` of the requests.
    """

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, body))
        self.server.headers.append(self.headers)
        self.answer({"predictions": [{"of": instance} for instance in body["instances"]]})

    def do_GET(self):
        self.server.seen.append((self.path, None))
        self.answer({"metadata": {"signature_def": {}}})

    def answer(self, usual):
        status, body = self.server.answers.popleft() if self.server.answers else (200, usual)
        if status is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_json(body, status)


@contextlib.contextmanager
def running(handler: type[JsonHandler]) -> Iterator[http.server.ThreadingHTTPServer]:
    """Run a server on a free port of this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.seen, server.answers, server.headers = [], deque(), []
    # Looked for a wish to stop more often than by default, so that tests end sooner.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
