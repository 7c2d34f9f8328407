"""The Python server in this process, with the exported model of a small run."""

import contextlib
from collections.abc import Iterator

from benchmarks.processes import free_ports
from support import small
from tfbert.serving.client import Client
from tfbert.serving.server.flags import Options
from tfbert.serving.server.server import Server


@contextlib.contextmanager
def running(**options) -> Iterator[Server]:
    """Serve the model as `m` over gRPC and REST, with options of the server."""
    ports = free_ports(2)
    defaults = {"model_name": "m", "model_base_path": str(small.finished_run()[1].resolve())}
    server = Server(Options(port=ports[0], rest_api_port=ports[1], **defaults | options))
    try:
        yield server
    finally:
        server.close()


def client_of(server: Server, **options) -> Client:
    """Return a REST client that does not retry."""
    return Client(f"127.0.0.1:{server.options.rest_api_port}", "m", retries=0, **options)
