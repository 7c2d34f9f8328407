"""Prometheus metrics: counts and latencies with TensorFlow Serving's names.

A Prometheus library would add `_total` to the names of counters, and dashboards made for the real server would find
nothing.
"""

import bisect
import threading
from collections import defaultdict
from collections.abc import Mapping

# Microseconds, 10 * 1.8^k, as the real server has them.
_LATENCY_BOUNDS = [10 * 1.8**power for power in range(33)]
_QUEUING_BOUNDS = [100 * 1.2**power for power in range(52)]
_SIZE_BOUNDS = [float(2**power) for power in range(16)]
_PREFIX = ":tensorflow:serving:"

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """The metrics of a server. Thread-safe.

    Args:
        most_models: names that are counted apart. Clients choose the names of models, known or not; all further ones
            are counted as `other`, so that nobody can fill the memory with them.

    Source: TensorFlow Serving 2.20.0, `servables/tensorflow/util.cc`, for names, labels and bounds. There the number
        of models is not bounded.
    """

    def __init__(self, most_models: int = 1000):
        self.most_models = most_models
        self._lock = threading.Lock()
        self._models: set[str] = set()
        self._counters: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self._histograms: dict[str, dict[Labels, _Histogram]] = defaultdict(dict)

    def request(self, model: str, api: str, entrypoint: str, status: str, seconds: float) -> None:
        """Count a request.

        Args:
            model: that was asked for, known or not.
            api: `predict` over REST, `Predict` over gRPC, and so on.
            entrypoint: `REST` or `GRPC`.
            status: name of its code; the latency counts only if it is `OK`.
            seconds: that it took.
        """
        with self._lock:
            model = self._known(model)
            self._counters["request_count"][(("model_name", model), ("status", status))] += 1
            if status == "OK":
                labels = (("model_name", model), ("API", api), ("entrypoint", entrypoint))
                self._observe("request_latency", labels, 1e6 * seconds, _LATENCY_BOUNDS)

    def run(self, model: str, api: str, seconds: float) -> None:
        """Count a run of the model's graph."""
        with self._lock:
            labels = (("model_name", self._known(model)), ("API", api), ("runtime", "TF1"))
            self._observe("runtime_latency", labels, 1e6 * seconds, _LATENCY_BOUNDS)

    def batch(self, queuing_seconds: float, num_rows: int, padded_rows: int) -> None:
        """Count a batch that was run.

        Args:
            queuing_seconds: that its first request waited.
            num_rows: of requests.
            padded_rows: that were run on top of them.
        """
        with self._lock:
            labels = (("thread_pool_name", "batch_threads"),)
            self._observe("batching_session:queuing_latency", labels, 1e6 * queuing_seconds, _QUEUING_BOUNDS)
            self._observe("batching_session:input_batch_size", (), num_rows, _SIZE_BOUNDS)
            self._observe("batching_session:processed_batch_size", (), num_rows + padded_rows, _SIZE_BOUNDS)
            self._counters["batching_session:wrapped_run_count"][()] += 1

    def load(self, path: str, is_success: bool) -> None:
        """Count an attempt to load a version."""
        with self._lock:
            status = "success" if is_success else "fail"
            labels = (("model_path", path), ("status", status))
            self._counters[":tensorflow:cc:saved_model:load_attempt_count"][labels] += 1

    def text(self) -> str:
        """Return all metrics in Prometheus' text format."""
        with self._lock:
            lines = []
            for name, of_labels in sorted(self._counters.items()):
                full = _full(name)
                lines.append(f"# TYPE {full} counter")
                lines += [f"{full}{_shown(dict(labels))} {value:g}" for labels, value in sorted(of_labels.items())]
            for name, histograms in sorted(self._histograms.items()):
                full = _full(name)
                lines.append(f"# TYPE {full} histogram")
                for labels, histogram in sorted(histograms.items()):
                    lines += histogram.lines(full, dict(labels))
            return "\n".join(lines) + "\n"

    def _known(self, model: str) -> str:
        if model not in self._models and len(self._models) >= self.most_models:
            return "other"
        self._models.add(model)
        return model

    def _observe(self, name: str, labels: Labels, value: float, bounds: list[float]) -> None:
        of_labels = self._histograms[name]
        if labels not in of_labels:
            of_labels[labels] = _Histogram(bounds)
        of_labels[labels].observe(value)


class _Histogram:
    def __init__(self, bounds: list[float]):
        self.bounds, self.counts, self.total = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: Mapping[str, str]) -> list[str]:
        found, count = [], 0
        for bound, number in zip([*map(_bound, self.bounds), "+Inf"], self.counts, strict=True):
            count += number
            found.append(f"{name}_bucket{_shown({**labels, 'le': bound})} {count}")
        return [*found, f"{name}_sum{_shown(labels)} {self.total:.17g}", f"{name}_count{_shown(labels)} {count}"]


def _bound(bound: float) -> str:
    return f"{bound:.6g}"


def _full(name: str) -> str:
    return name if name.startswith(":") else _PREFIX + name


def _shown(labels: Mapping[str, str]) -> str:
    def escaped(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""
