"""One model behind servers in, a table of requests a second and of waiting times under load out, next to its peers.

All servers are up at once and asked in turn, in short blocks, by clients that ask again as soon as they are answered.
Clients and servers share the processor.
"""

import base64
import json
import logging
import os
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from tfbert.bench.commands import TOOLS
from tfbert.bench.peers import peers_python
from tfbert.bench.picture import Speed
from tfbert.bench.processes import WORKERS, Worker, free_ports, server
from tfbert.bench.serve import write_onnx
from tfbert.bench.served import SHORT, Served, draw_records, make_served
from tfbert.files import write_json

logger = logging.getLogger(__name__)

MODEL = "served"
PREDICT_PATH = f"/v1/models/{MODEL}:predict"
_GRPC_PATH, _PEER_PATH = "/tensorflow.serving.PredictionService/Predict", "/predict"
WAYS = {
    "rest": "tools/serve.py, REST",
    "rest-batching": "tools/serve.py, REST, batching",
    "grpc": "tools/serve.py, gRPC",
    "grpc-batching": "tools/serve.py, gRPC, batching",
    "fastapi": "FastAPI + onnxruntime, REST",
    "litserve": "LitServe + onnxruntime, REST, batching",
}
_PEERS = ("fastapi", "litserve")
_NUM_CLIENTS = (1, 8, 64)
_NUM_BLOCKS = 3
_WARM_UP_SECONDS = 3.0
# Of every server: requests that are answered at once.
_NUM_REQUESTS = 64


@dataclass(frozen=True)
class Target:
    """Where clients ask.

    Args:
        protocol: `rest` or `grpc`.
        port: on 127.0.0.1.
        path: of the POST or of the gRPC method.
    """

    protocol: str
    port: int
    path: str


def measure(
    data_dir: Path,
    out_dir: Path,
    run_dir: Path | None = None,
    seconds: float = 60.0,
    num_clients: Sequence[int] = _NUM_CLIENTS,
) -> list[dict]:
    """Put every server under load.

    Args:
        data_dir: holds the data sets in folders of their own.
        out_dir: for `served/`, which has the model, and `load/load.json`.
        run_dir: of the classification that is asked; `None` trains one.
        seconds: of every server and number of clients.
        num_clients: that ask at once, in turn.

    Returns:
        A dict a way and number of clients: `way` (a key of `WAYS`), `num_clients`; `requests_per_second` of each
        block; `p50`, `p95`, `p99`, milliseconds over all blocks, `None` where nothing was answered; `num_answered`,
        `num_failed`, and some of the `failures`; `busy_clients_fraction`, of one core, that the clients took.

    Raises:
        ValueError: the data or the run is not there, or the run is none that the peers can build.
        RuntimeError: a server did not start.
    """
    texts = [record.text for record in draw_records(data_dir)[SHORT]]
    served, folder = make_served(data_dir, out_dir / "served", run_dir), out_dir / "load"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    with ExitStack() as opened:
        targets = _targets(served, folder, opened)
        for target in targets.values():
            ask(target, texts, 8, _WARM_UP_SECONDS, folder)
        for number in num_clients:
            blocks = {way: [] for way in targets}
            for _ in range(_NUM_BLOCKS):
                for way, target in targets.items():
                    blocks[way].append(ask(target, texts, number, seconds / _NUM_BLOCKS, folder))
            rows += [{"way": way, "num_clients": number} | summary(found) for way, found in blocks.items()]
            logger.info("%d clients: done", number)
    write_json(folder / "load.json", {"rows": rows, "num_cores": os.cpu_count()})
    return rows


def to_markdown(rows: list[dict]) -> str:
    """Return the table: the median over blocks with the range, and how it compares with FastAPI."""
    lines = [
        "| clients | server | requests a second (range) | FastAPI is 1 | p50 ms | p95 ms | p99 ms | failed "
        "| cores for the clients |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    speeds = {(row["way"], row["num_clients"]): statistics.median(row["requests_per_second"]) for row in rows}
    for row in rows:
        speed, values = speeds[row["way"], row["num_clients"]], row["requests_per_second"]
        peer = speeds.get(("fastapi", row["num_clients"]))
        cells = [str(row["num_clients"]), WAYS[row["way"]], f"{speed:,.0f} ({min(values):,.0f} to {max(values):,.0f})"]
        cells += [f"{speed / peer:.2f}" if peer else ""]
        cells += ["" if row[name] is None else f"{row[name]:,.1f}" for name in ("p50", "p95", "p99")]
        cells += [f"{row['num_failed']:,}", f"{row['busy_clients_fraction']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def speeds(rows: list[dict]) -> list[Speed]:
    """Return what is drawn of the table: requests a second."""
    return [
        Speed(f"{row['num_clients']} clients", WAYS[row["way"]], row["requests_per_second"], row["way"] not in _PEERS)
        for row in rows
    ]


def our_server(model_dir: Path, ports: Sequence[int], *more: str) -> list[str]:
    """Return the command of `tools/serve.py` for a model.

    Args:
        model_dir: with its versions.
        ports: of REST and of gRPC.
        *more: flags.
    """
    command = [sys.executable, str(TOOLS / "serve.py"), f"--model_name={MODEL}"]
    command += [f"--model_base_path={model_dir.resolve()}", f"--rest_api_port={ports[0]}", f"--port={ports[1]}"]
    return [*command, f"--rest_api_num_threads={_NUM_REQUESTS}", f"--grpc_max_threads={_NUM_REQUESTS}", *more]


def clients(target: Target, texts: Sequence[str], num_clients: int, folder: Path) -> Worker:
    """Return the process whose clients ask from now on, a text each, until its input ends.

    Args:
        target: where.
        texts: asked in turn.
        num_clients: at once.
        folder: for the job.
    """
    make = _json_body if target.protocol == "rest" else _message
    job = {"protocol": target.protocol, "port": target.port, "path": target.path, "num_clients": num_clients}
    path = folder / "clients.json"
    write_json(path, job | {"bodies": [make(text) for text in texts]})
    return Worker([sys.executable, str(WORKERS / "load_client.py"), str(path)])


def ask(target: Target, texts: Sequence[str], num_clients: int, seconds: float, folder: Path) -> dict:
    """Return what clients saw in some seconds: the last line of `load_client.py`."""
    with clients(target, texts, num_clients, folder) as asking:
        time.sleep(seconds)
        return asking.finish()


def summary(blocks: Sequence[dict]) -> dict:
    """Return what several blocks of one cell say together, as `measure` returns it."""
    latencies = np.concatenate([block["latencies_ms"] for block in blocks])
    shares = {"p50": 50, "p95": 95, "p99": 99}
    return {
        "requests_per_second": [block["num_answered"] / block["seconds"] for block in blocks],
        **{name: float(np.percentile(latencies, share)) if len(latencies) else None for name, share in shares.items()},
        "num_answered": len(latencies),
        "num_failed": sum(block["num_failed"] for block in blocks),
        "failures": [line for block in blocks for line in block["failures"]],
        "busy_clients_fraction": sum(b["busy_seconds"] for b in blocks) / sum(b["seconds"] for b in blocks),
    }


def _targets(served: Served, folder: Path, opened: ExitStack) -> dict[str, Target]:
    """Start all servers, which end with the stack, and return where each way is asked."""
    # Of one operation. All sides answer more requests so than with all cores for each.
    threads = 1
    request, found = {"instances": ["a"]}, {}
    for name, more in (("", []), ("-batching", ["--enable_batching"])):
        ports = free_ports(2)
        command = our_server(served.model_dir, ports, f"--tensorflow_intra_op_parallelism={threads}", *more)
        opened.enter_context(server(command, ports[0], PREDICT_PATH, request, folder / f"server{name}.log"))
        found[f"rest{name}"] = Target("rest", ports[0], PREDICT_PATH)
        found[f"grpc{name}"] = Target("grpc", ports[1], _GRPC_PATH)
    python = peers_python()
    if python is not None:
        write_onnx(python, served)
        for kind in ("fastapi", "litserve"):
            (port,) = free_ports(1)
            job = {"port": port, "model": str(served.peer_dir), "num_threads": threads}
            write_json(folder / f"{kind}.json", job | {"num_requests": _NUM_REQUESTS})
            command = [str(python), str(WORKERS / f"peer_{kind}.py"), str(folder / f"{kind}.json")]
            opened.enter_context(server(command, port, _PEER_PATH, request, folder / f"{kind}.log"))
            found[kind] = Target("rest", port, _PEER_PATH)
    return {way: found[way] for way in WAYS if way in found}


def _json_body(text: str) -> str:
    return json.dumps({"instances": [text]})


def _message(text: str) -> str:
    """Return a request of `Predict` in base64."""
    request = PredictRequest()
    request.model_spec.name = MODEL
    request.inputs["text"].CopyFrom(tf.make_tensor_proto([text.encode()]))
    return base64.b64encode(request.SerializeToString()).decode()
