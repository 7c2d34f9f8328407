"""A model in, what becomes of `tools/serve.py` under a long load while its versions change: failures and memory out.

Clients ask all the time. Meanwhile copies of the model appear as the next version, renamed into place as an export
does, and what was served before is deleted when the server has let go of it.
"""

import http.client
import json
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from tfbert.bench.load import MODEL, PREDICT_PATH, Target, clients, our_server, summary
from tfbert.bench.processes import free_ports, server
from tfbert.bench.served import SHORT, draw_records, make_served
from tfbert.bench.workers.asking import memory_bytes
from tfbert.files import write_json

logger = logging.getLogger(__name__)

_SETTINGS = {"encoder.name": "tiny", "encoder.sequence_length": "64"}
_NUM_CLIENTS = 16
_SWAP_SECONDS = 120
# Of the samples, before which the server is said to warm up.
_WARM_UP_FRACTION = 0.2


def measure(
    data_dir: Path, out_dir: Path, run_dir: Path | None = None, num_requests: int = 100_000, num_swaps: int = 50
) -> dict:
    """Load a server until it has answered and swapped as often as wanted.

    Args:
        data_dir: holds the data sets in folders of their own.
        out_dir: for `soak/`.
        run_dir: of the classification that is served; `None` trains the encoder `tiny`, so that what is tested is the
            server and not the model.
        num_requests: at least so many.
        num_swaps: of the version.

    Returns:
        `num_answered`, `num_failed`, some of the `failures`; `num_swaps`; `requests_per_second`; `p50`, `p95`, `p99`
        in milliseconds; `samples`, a dict about every second with `num_answered`, `num_swaps` and `resident_bytes`;
        and of those what `memory` says.

    Raises:
        ValueError: the data or the run is not there, or the run is none of a classification.
        RuntimeError: the server did not start, or did not take a version.
    """
    texts = [record.text for record in draw_records(data_dir)[SHORT]]
    folder = out_dir / "soak"
    folder.mkdir(parents=True, exist_ok=True)
    served = make_served(data_dir, folder / "served", run_dir, _SETTINGS)
    ports, samples = free_ports(2), []
    # With batching a version also has to wait for the batches that still hold it.
    command = our_server(served.model_dir, ports, "--enable_batching")
    target = Target("rest", ports[0], PREDICT_PATH)
    with ExitStack() as opened:
        process = opened.enter_context(
            server(command, ports[0], PREDICT_PATH, {"instances": ["a"]}, folder / "server.log")
        )
        asking = opened.enter_context(clients(target, texts, _NUM_CLIENTS, folder))

        def sample(num_swapped: int) -> int:
            """Note the memory at the next line that the clients write, and return how often they have asked."""
            line = asking.read()
            found = {"num_answered": line["num_answered"], "num_swaps": num_swapped}
            samples.append(found | {"resident_bytes": memory_bytes(process.pid, "VmRSS")})
            return line["num_answered"] + line["num_failed"]

        for number in range(num_swaps):
            # Evenly over the requests.
            while sample(number) < num_requests * (number + 1) / (num_swaps + 1):
                pass
            _swap(served.model_dir, number + 1, ports[0], partial(sample, number))
        while sample(num_swaps) < num_requests:
            pass
        said = summary([asking.finish()])
    found = said | {"num_swaps": num_swaps, "samples": samples} | memory(samples)
    write_json(folder / "soak.json", found)
    return found


def memory(samples: list[dict]) -> dict:
    """Return what the samples say of the server's memory.

    Args:
        samples: as `measure` returns them, four or more.

    Returns:
        `start_bytes`, `warm_bytes` (median of the first tenth behind the warm-up, which is a fifth), `end_bytes`
        (median of the last tenth), and `slope_bytes`, by which it grows in 10,000 requests behind the warm-up, by
        least squares; `low_bytes` and `high_bytes` of each quarter, which say more, as it rises and falls with the
        versions.
    """
    used = np.array([sample["resident_bytes"] for sample in samples], float)
    answered = np.array([sample["num_answered"] for sample in samples], float)
    warm, tenth = int(_WARM_UP_FRACTION * len(used)), -(-len(used) // 10)
    quarters = np.array_split(used, 4)
    centred = answered[warm:] - answered[warm:].mean()
    slope = (centred * used[warm:]).sum() / max((centred**2).sum(), 1.0)
    return {
        "start_bytes": used[0],
        "warm_bytes": float(np.median(used[warm : warm + tenth])),
        "end_bytes": float(np.median(used[-tenth:])),
        "slope_bytes": 10_000 * float(slope),
        "low_bytes": [part.min() for part in quarters],
        "high_bytes": [part.max() for part in quarters],
    }


def to_markdown(found: dict) -> str:
    """Return the table."""
    lines = ["| | |", "|---|---|"]
    speed = found["requests_per_second"][0]
    rows = {
        "requests answered": f"{found['num_answered']:,}",
        "requests failed": f"{found['num_failed']:,}",
        "versions swapped": f"{found['num_swaps']:,}",
        "requests a second": f"{speed:,.0f}",
        "p50 / p95 / p99": " / ".join(f"{found[name]:,.1f}" for name in ("p50", "p95", "p99")) + " ms",
    }
    for name, words in (("start", "at the start"), ("warm", "after warm-up"), ("end", "at the end")):
        rows[f"memory {words}"] = f"{found[f'{name}_bytes'] / 2**20:,.0f} MiB"
    for name, words in (("low", "lowest"), ("high", "highest")):
        quarters = " / ".join(f"{each / 2**20:,.0f}" for each in found[f"{name}_bytes"])
        rows[f"{words} in each quarter"] = f"{quarters} MiB"
    rows["growth in 10,000 requests"] = f"{found['slope_bytes'] / 2**20:+,.2f} MiB"
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows.items())])


def _swap(model_dir: Path, old: int, port: int, wait: Callable[[], object]) -> None:
    """Put a copy of a version in its place, and delete it when the server has let go of it.

    Args:
        model_dir: that is watched by the server.
        old: number of the version that it serves.
        port: of REST.
        wait: called until the server has swapped.
    """
    aside, new = model_dir / ".copying", old + 1
    shutil.copytree(model_dir / str(old), aside)
    aside.rename(model_dir / str(new))
    deadline = time.monotonic() + _SWAP_SECONDS
    while (states := _states(port)).get(new) != "AVAILABLE" or states[old] != "END":
        if time.monotonic() > deadline:
            raise RuntimeError(f"version {new} was not served after {_SWAP_SECONDS} seconds: {states}")
        wait()
    shutil.rmtree(model_dir / str(old))


def _states(port: int) -> dict[int, str]:
    """Return the states of the model's versions."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SWAP_SECONDS)
    try:
        connection.request("GET", f"/v1/models/{MODEL}")
        said = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return {int(version["version"]): version["state"] for version in said["model_version_status"]}
