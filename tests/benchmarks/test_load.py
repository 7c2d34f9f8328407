"""Load tests: counts of successful and failed requests, and measurements of all servers."""

import http.server
import json
import threading
import time
from dataclasses import replace

import pytest

from benchmarks import load
from benchmarks.load import Plan, Target

PATH = "/v1/models/served:predict"
# A server that responds with status 200 and an empty body.
STAND_IN = """
import http.server
from pathlib import Path
if worker == "peer_models":
    Path(job["model"], "about.json").write_text('{"has_bfloat16": false}')
    sys.exit()
assert worker == "peer_servers" and job["kind"] in ("fastapi", "litserve") and job["num_requests"] == 64

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        assert self.path == "/predict"
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

http.server.ThreadingHTTPServer(("127.0.0.1", job["port"]), Handler).serve_forever()
"""


@pytest.fixture
def rest_server():
    """Return the port of a server and the received texts. It responds to "bad" with 503 and disconnects at "worse"."""
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            (text,) = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
            received.append(text)
            assert self.path == PATH
            time.sleep(0.01)
            if text == "worse":
                self.close_connection = True
                return
            self.send_response(503 if text == "bad" else 200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], received
        server.shutdown()
        thread.join()


def test_clients_count_successful_and_failed_requests(rest_server, tmp_path):
    port, received = rest_server
    measured = load.send(Target(port, PATH), ["good é", "bad", "worse"], 2, 0.5, tmp_path)
    assert len(measured["latencies_ms"]) == received.count("good é") > 2
    assert measured["num_failed"] == received.count("bad") + received.count("worse") > 4
    assert min(measured["latencies_ms"]) >= 10
    assert measured["seconds"] >= 0.5 and measured["busy_seconds"] > 0
    assert any("503" in line for line in measured["failures"]) and len(measured["failures"]) <= 10


def test_blocks_are_combined():
    blocks = [
        {"latencies_ms": [1.0, 2.0, 3.0], "num_failed": 2, "seconds": 0.5, "busy_seconds": 0.1},
        {"latencies_ms": [4.0, 101.0], "num_failed": 0, "seconds": 1.0, "busy_seconds": 0.2},
    ]
    values = load.row_of(8, "a server", blocks).values
    assert values["requests_per_second"] == [6.0, 2.0]
    assert values["p50_ms"] + values["p95_ms"] + values["p99_ms"] == pytest.approx([3.0, 81.6, 97.12])
    assert (values["num_failed"], values["client_cores"]) == ([2], [pytest.approx(0.2)])
    failed = load.row_of(1, "a server", [blocks[0] | {"latencies_ms": []}])
    assert failed.values["p99_ms"] == [] and failed.values["requests_per_second"] == [0.0]


@pytest.mark.slow
def test_all_servers_are_measured_in_turn(options, served, stand_in, monkeypatch):
    stand_in(STAND_IN)
    monkeypatch.setattr(load, "export", lambda *_: served)
    plan = Plan(num_clients=(2,), num_blocks=1, warm_up_seconds=0.1)
    table = load.measure(replace(options, num_seconds=0.5), plan)
    assert [row.system for row in table.rows] == [
        "tools/serve.py, batching",
        "tools/serve.py",
        "FastAPI + onnxruntime",
        "LitServe + onnxruntime, batching",
    ]
    assert all(row.values["num_failed"] == [0] and row.values["requests_per_second"][0] > 2 for row in table.rows)
    assert table.to_markdown().splitlines()[2].startswith("| 2 | tools/serve.py, batching | ")
