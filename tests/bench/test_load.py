"""Servers under load: what the clients count, what is made of it, and all servers in turn."""

import http.server
import json
import threading
import time
from concurrent import futures

import grpc
import pytest

from tfbert.bench import load
from tfbert.bench.load import Target
from tfbert.files import read_json

PATH = "/v1/models/served:predict"
# A server of the peers that answers with status 200 and nothing else.
STAND_IN = """
import http.server, json, sys
from pathlib import Path
program = Path(sys.argv[1])
if program.name == "peer_models.py":
    Path(sys.argv[2], "fused.onnx").write_text("made")
    Path(sys.argv[2], "about.json").write_text('{"has_bfloat16": false}')
    sys.exit()
assert program.name in ("peer_fastapi.py", "peer_litserve.py")
job = json.load(open(sys.argv[2]))
assert Path(job["model"], "fused.onnx").exists()

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
    """Return the port of a server that says 503 to "bad" and hangs up at "worse", and the texts it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            (text,) = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
            asked.append(text)
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
        yield server.server_address[1], asked
        server.shutdown()
        thread.join()


def test_clients_count_what_a_server_answers_and_what_not(rest_server, tmp_path):
    port, asked = rest_server
    found = load.ask(Target("rest", port, PATH), ["good é", "bad", "worse"], 2, 0.5, tmp_path)
    assert found["num_answered"] == len(found["latencies_ms"]) == asked.count("good é") > 2
    assert found["num_failed"] == asked.count("bad") + asked.count("worse") > 4
    assert min(found["latencies_ms"]) >= 10
    assert found["seconds"] >= 0.5 and found["busy_seconds"] > 0
    assert any("503" in line for line in found["failures"]) and len(found["failures"]) <= 10


def test_clients_count_over_grpc_too(tmp_path):
    asked = []

    def answer(request, context):
        asked.append(b"bad" in request)
        if asked[-1]:
            context.abort(grpc.StatusCode.UNAVAILABLE, "full")
        return b"answer"

    handler = grpc.unary_unary_rpc_method_handler(answer)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_registered_method_handlers("tensorflow.serving.PredictionService", {"Predict": handler})
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        target = Target("grpc", port, "/tensorflow.serving.PredictionService/Predict")
        found = load.ask(target, ["good", "bad"], 2, 0.5, tmp_path)
    finally:
        server.stop(None).wait()
    assert found["num_answered"] == asked.count(False) > 2
    assert found["num_failed"] == asked.count(True) > 2
    assert "full" in found["failures"][0]


def block(latencies, seconds, failed=0):
    return {
        "num_answered": len(latencies),
        "num_failed": failed,
        "latencies_ms": latencies,
        "seconds": seconds,
        "busy_seconds": seconds / 4,
        "failures": ["503"] * failed,
    }


def test_blocks_are_put_together():
    found = load.summary([block([1.0, 2.0, 3.0], 0.5, 2), block([4.0, 101.0], 1.0)])
    assert found["requests_per_second"] == [6.0, 2.0]
    assert (found["p50"], found["p95"], found["p99"]) == pytest.approx((3.0, 81.6, 97.12))
    assert (found["num_answered"], found["num_failed"], found["failures"]) == (5, 2, ["503", "503"])
    assert found["busy_clients_fraction"] == 0.25
    assert load.summary([block([], 1.0, 1)])["p99"] is None


def test_the_table_compares_with_fastapi_at_the_same_number_of_clients():
    rows = [
        {"way": way, "num_clients": number} | load.summary([block([2.0] * count, 1.0), block([4.0] * count, 1.0, 1)])
        for way, number, count in (("rest", 1, 30), ("fastapi", 1, 40), ("rest", 8, 1500))
    ]
    assert load.to_markdown(rows).splitlines()[2:] == [
        "| 1 | tools/serve.py, REST | 30 (30 to 30) | 0.75 | 3.0 | 4.0 | 4.0 | 1 | 0.25 |",
        "| 1 | FastAPI + onnxruntime, REST | 40 (40 to 40) | 1.00 | 3.0 | 4.0 | 4.0 | 1 | 0.25 |",
        "| 8 | tools/serve.py, REST | 1,500 (1,500 to 1,500) |  | 3.0 | 4.0 | 4.0 | 1 | 0.25 |",
    ]


def test_all_servers_are_asked_in_turn(data_dir, served, stand_in, tmp_path, monkeypatch):
    stand_in(STAND_IN)
    monkeypatch.setattr(load, "make_served", lambda *_: served)
    monkeypatch.setattr(load, "_WARM_UP_SECONDS", 0.1)
    monkeypatch.setattr(load, "_NUM_BLOCKS", 1)
    rows = load.measure(data_dir, tmp_path / "out", None, 0.5, (2,))
    assert [row["way"] for row in rows] == list(load.WAYS)
    assert [row["failures"] for row in rows] == [[]] * 6
    assert all(row["num_answered"] > 1 and row["num_failed"] == 0 for row in rows)
    assert read_json(tmp_path / "out" / "load" / "load.json")["rows"] == rows


def test_a_server_that_does_not_start_says_where_it_says_why(tmp_path):
    from tfbert.bench.processes import free_ports, server

    (port,) = free_ports(1)
    command = ["sh", "-c", "echo the reason >&2; exit 1"]
    with pytest.raises(RuntimeError, match=r"did not answer on port \d+; .*server\.log says why$"):  # noqa: SIM117
        with server(command, port, "/", {}, tmp_path / "server.log"):
            pass
    assert (tmp_path / "server.log").read_text() == "the reason\n"
