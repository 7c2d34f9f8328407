"""Requests per second and latency of REST servers under load, next to FastAPI and LitServe with the same model.

All servers run at once and take turns in short blocks. Clients share the processor with them.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.options import Options
from benchmarks.processes import Worker, free_ports, peers_python, server, tool_command, worker_command
from benchmarks.served_model import SHORT, ServedModel, export, texts_of
from benchmarks.tables import Row, Table, median, speedup

logger = logging.getLogger(__name__)

_MODEL = "served"
_PREDICT_PATH, _PEER_PATH = f"/v1/models/{_MODEL}:predict", "/predict"
_PEERS = {"fastapi": "FastAPI + onnxruntime", "litserve": "LitServe + onnxruntime, batching"}
# Of one operation: every server answers more requests so than with all cores for each.
_NUM_THREADS = 1
# Requests that a server works on at once.
_NUM_REQUESTS = 64
COLUMNS = (
    ("requests per second (range)", median("requests_per_second", ",.0f", with_range=True)),
    ("tools/serve.py with batching is", speedup("requests_per_second", "higher")),
    ("p50 ms", median("p50_ms", ",.1f")),
    ("p95 ms", median("p95_ms", ",.1f")),
    ("p99 ms", median("p99_ms", ",.1f")),
    ("failed", median("num_failed", ",.0f")),
    ("cores for the clients", median("client_cores", ".2f")),
)


@dataclass(frozen=True)
class Target:
    """Where clients send requests: a port of 127.0.0.1, and the path of the POST."""

    port: int
    path: str


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Args:
        num_clients: that send requests at once, in turn.
        num_blocks: of every server and number of clients.
        warm_up_seconds: of load that is not measured.
    """

    num_clients: Sequence[int] = (1, 8, 64)
    num_blocks: int = 3
    warm_up_seconds: float = 3.0


def measure(options: Options, plan: Plan | None = None) -> Table:
    """Put every server under load.

    Raises:
        ValueError: data or run are missing, or other libraries cannot build the model.
        ChildProcessError: a server does not start.
    """
    texts = texts_of(options)[SHORT][0]
    served, plan, rows = export(options), plan or Plan(), []
    options.out_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as opened:
        targets = _targets(served, options.out_dir, opened)
        for target in targets.values():
            send(target, texts, 8, plan.warm_up_seconds, options.out_dir)
        for number in plan.num_clients:
            blocks: dict[str, list[dict]] = {system: [] for system in targets}
            for _ in range(plan.num_blocks):
                for system, target in targets.items():
                    seconds = options.num_seconds / plan.num_blocks
                    blocks[system].append(send(target, texts, number, seconds, options.out_dir))
            rows += [row_of(number, system, measured) for system, measured in blocks.items()]
    return Table(columns=COLUMNS, rows=rows, workload="clients")


def send(target: Target, texts: Sequence[str], num_clients: int, seconds: float, out_dir: Path) -> dict:
    """Return what clients measured that send one text per request for some seconds, as `load_client` says."""
    job = {"port": target.port, "path": target.path, "num_clients": num_clients, "texts": texts}
    with Worker(worker_command("load_client", job, out_dir / "clients.json")) as clients:
        time.sleep(seconds)
        measured = clients.finish()
    for failure in measured["failures"]:
        logger.warning("port %d: %s", target.port, failure)
    return measured


def row_of(num_clients: int, system: str, blocks: Sequence[dict]) -> Row:
    """Return the row of several blocks; latencies are over all of them, and missing where no request succeeded."""
    latencies = [ms for block in blocks for ms in block["latencies_ms"]]
    values = {f"p{n}_ms": [float(np.percentile(latencies, n))] if latencies else [] for n in (50, 95, 99)}
    values["requests_per_second"] = [len(block["latencies_ms"]) / block["seconds"] for block in blocks]
    values["num_failed"] = [sum(block["num_failed"] for block in blocks)]
    values["client_cores"] = [sum(b["busy_seconds"] for b in blocks) / sum(b["seconds"] for b in blocks)]
    return Row(workload=str(num_clients), system=system, values=values)


def _targets(served: ServedModel, out_dir: Path, opened: ExitStack) -> dict[str, Target]:
    """Start all servers, which end with the stack, and return where each takes requests."""
    targets = {}
    for system, flags in {"tools/serve.py, batching": ["--enable_batching"], "tools/serve.py": []}.items():
        rest_port, grpc_port = free_ports(2)
        arguments = [f"--model_name={_MODEL}", f"--model_base_path={served.model_dir}", *flags]
        arguments += [f"--rest_api_port={rest_port}", f"--port={grpc_port}"]
        arguments += [f"--rest_api_num_threads={_NUM_REQUESTS}", f"--tensorflow_intra_op_parallelism={_NUM_THREADS}"]
        command, log = tool_command("serve", arguments), out_dir / f"server{len(targets)}.log"
        opened.enter_context(server(command, rest_port, _PREDICT_PATH, log))
        targets[system] = Target(rest_port, _PREDICT_PATH)
    python = peers_python()
    if python is not None:
        served.write_onnx(python)
        for kind, system in _PEERS.items():
            (port,) = free_ports(1)
            job = {"kind": kind, "port": port, "model": str(served.peer_dir)}
            job |= {"num_threads": _NUM_THREADS, "num_requests": _NUM_REQUESTS}
            command = worker_command("peer_servers", job, out_dir / f"{kind}.json", python)
            opened.enter_context(server(command, port, _PEER_PATH, out_dir / f"{kind}.log"))
            targets[system] = Target(port, _PEER_PATH)
    return targets
