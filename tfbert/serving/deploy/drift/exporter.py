"""Drift exporter: Prometheus metrics of the sample of responses that the proxy counts. Needs only the standard library.

The lines of the proxy have numbers and the model's labels, but no text. Counters start at 0 with the process, as
Prometheus expects.
"""

import argparse
import json
import os
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Further labels are counted as `other`, so that they cannot flood Prometheus.
MAX_LABELS = 1000


class Answers:
    """Totals of the proxy's lines.

    Args:
        model_name: value of the metrics' label `model_name`.
    """

    def __init__(self, model_name: str):
        self._model_name = model_name
        self._lock = threading.Lock()
        self._totals: Counter = Counter()
        self._labels: Counter = Counter()

    def add(self, line: str) -> None:
        """Count one line; a malformed line is counted as unreadable."""
        try:
            counts = json.loads(line)
            numbers = {name: float(counts[name] or 0) for name in ("answers", "score_sum", "abstentions", "unusual")}
            labels = {str(name): int(number) for name, number in (counts.get("labels") or {}).items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            numbers, labels = {"unreadable": 1}, {}
        with self._lock:
            self._totals.update(numbers)
            for name, number in labels.items():
                known = name in self._labels or len(self._labels) < MAX_LABELS
                self._labels[name if known else "other"] += number

    def text(self) -> str:
        """Return all metrics in Prometheus' text format."""
        with self._lock:
            totals, labels = dict(self._totals), dict(self._labels)
        model = _quoted(self._model_name)
        lines = []
        for name, metric in (
            ("answers", "tfbert_answers_total"),
            ("score_sum", "tfbert_answer_score_sum"),
            ("abstentions", "tfbert_answer_abstentions_total"),
            ("unusual", "tfbert_answer_unusual_total"),
            ("unreadable", "tfbert_answer_lines_unreadable_total"),
        ):
            lines += [f"# TYPE {metric} counter", f"{metric}{{model_name={model}}} {totals.get(name, 0):.10g}"]
        lines.append("# TYPE tfbert_answer_labels_total counter")
        for label, number in sorted(labels.items()):
            lines.append(f"tfbert_answer_labels_total{{model_name={model},label={_quoted(label)}}} {number}")
        return "\n".join(lines) + "\n"


def follow(path: str, answers: Answers, longest_bytes: int, stopped: threading.Event) -> None:
    """Count every complete line of a growing file until stopped, and truncate the file when it gets large.

    The proxy appends, so it continues at the start of a truncated file.

    Args:
        path: the file, which does not have to exist yet.
        answers: counts the lines.
        longest_bytes: size above which the file is truncated, once it has been read completely.
        stopped: set by another thread to stop.
    """
    position, rest = 0, b""
    while True:
        is_last = stopped.is_set()
        size = os.path.getsize(path) if os.path.exists(path) else 0
        if size < position:
            position, rest = 0, b""
        if size > position:
            with open(path, "rb") as stream:
                stream.seek(position)
                *lines, rest = (rest + stream.read(size - position)).split(b"\n")
            position = size
            for line in lines:
                answers.add(line.decode("utf-8", "replace"))
        elif size > longest_bytes and not rest:
            os.truncate(path, 0)
        if is_last:
            return
        stopped.wait(0.5)


def serve(answers: Answers, port: int) -> ThreadingHTTPServer:
    """Start a server of `/metrics` in background threads, and return it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = answers.text().encode()
            self.send_response(200 if self.path == "/metrics" else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Do not log scrapes."""

    server = ThreadingHTTPServer(("0.0.0.0", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def main() -> None:
    """Follow the file and serve its metrics until the process is stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", required=True, help="file that the proxy writes")
    parser.add_argument("--model", required=True, help="model name in the metrics")
    parser.add_argument("--port", type=int, default=9903)
    parser.add_argument("--longest-bytes", type=int, default=16 * 2**20, help="size at which the file is truncated")
    options = parser.parse_args()
    answers = Answers(options.model)
    serve(answers, options.port)
    while True:
        try:
            follow(options.file, answers, options.longest_bytes, threading.Event())
        except OSError as error:
            print(f"{options.file}: {error}", flush=True)
            time.sleep(5)


if __name__ == "__main__":
    main()
