"""A base for servers in tests that answer with JSON."""

import http.server
import json


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
