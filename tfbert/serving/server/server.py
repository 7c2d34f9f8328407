"""The server: starts models, gRPC and REST, and stops them in order."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import tensorflow as tf
import uvicorn
from tensorflow_serving.config import model_server_config_pb2

from tfbert.serving.server import grpc_api, servable
from tfbert.serving.server.access import Access
from tfbert.serving.server.batching import Batcher, BatchingParameters, read_parameters
from tfbert.serving.server.calls import Calls
from tfbert.serving.server.connections import TimedConnection
from tfbert.serving.server.flags import Options
from tfbert.serving.server.metrics import Metrics
from tfbert.serving.server.models import ModelManager
from tfbert.serving.server.protos import InvalidFileError, empty, read_proto
from tfbert.serving.server.rest_api import RestApi
from tfbert.serving.server.status import ServingError
from tfbert.serving.server.versions import config_of

logger = logging.getLogger(__name__)

_METRICS_PATH = "/monitoring/prometheus/metrics"
_WAITING_CONNECTIONS = 2048
# What a request that is being answered gets to its end when the server is stopped.
_GRACE_SECONDS = 10.0


class Server:
    """A server that runs until it is closed.

    Args:
        options: checked.

    Raises:
        ValueError: an address is taken, which is found out first; a file or directory cannot be used, or no version of
            a model loads.
    """

    def __init__(self, options: Options):
        self.options = options
        check_ports(options)
        try:
            with ExitStack() as opened:
                self._open(opened)
                self._opened = opened.pop_all()
        except (ServingError, InvalidFileError) as error:
            raise ValueError(f"Failed to start server. Error: {error}") from None

    def _open(self, opened: ExitStack) -> None:
        options = self.options
        metrics = Metrics()
        # Read before the models are loaded, which takes time.
        parameters = _parameters(options) if options.enable_batching else None
        credentials, metrics_path = _credentials(options), _metrics_path(options)
        self.manager = _manager(options, metrics)
        opened.callback(self.manager.close)
        # Like the real server: no request is served before all models are available.
        self.manager.wait_until_available()
        batcher = None
        if parameters is not None:
            batcher = Batcher(parameters, observer=metrics.batch)
            opened.callback(batcher.close)
        self.calls = Calls(self.manager, metrics, batcher)
        if options.port or options.grpc_socket_path:
            server = grpc_api.start(
                self.calls,
                _addresses(options),
                options.grpc_max_threads,
                credentials,
                options.enable_grpc_healthcheck_service,
            )
            opened.callback(lambda: server.stop(_GRACE_SECONDS).wait())
        if options.rest_api_port:
            opened.enter_context(_rest(options, self.calls, metrics_path))
        if options.model_config_file and options.model_config_file_poll_wait_seconds:
            opened.enter_context(_rereading(options, self.manager))

    def close(self) -> None:
        """Stop listening, finish open requests, and unload the models."""
        self._opened.close()


def _manager(options: Options, metrics: Metrics) -> ModelManager:
    session_config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=options.tensorflow_intra_op_parallelism,
        inter_op_parallelism_threads=options.tensorflow_inter_op_parallelism,
    )

    iterations = max(1, options.num_request_iterations_for_warmup) if options.enable_model_warmup else 0

    def load(name: str, version: int, directory: Path) -> servable.Servable:
        is_success = False
        try:
            found = servable.load(name, version, directory, session_config, iterations)
            is_success = True
            return found
        finally:
            metrics.load(str(directory), is_success)

    return ModelManager(
        _config(options),
        load=load,
        poll_seconds=options.file_system_poll_wait_seconds,
        max_load_retries=options.max_num_load_retries,
        retry_seconds=options.load_retry_interval_micros / 1e6,
        allow_unavailable_labels=options.allow_version_labels_for_unavailable_models,
    )


def _config(options: Options) -> model_server_config_pb2.ModelServerConfig:
    if options.model_config_file:
        return read_proto(Path(options.model_config_file), model_server_config_pb2.ModelServerConfig())
    return config_of(options.model_name, options.model_base_path)


def _parameters(options: Options) -> BatchingParameters:
    if not options.batching_parameters_file:
        return BatchingParameters()
    return read_parameters(Path(options.batching_parameters_file))


def _addresses(options: Options) -> list[str]:
    addresses = [f"{options.host}:{options.port}"] if options.port else []
    return addresses + ([f"unix:{options.grpc_socket_path}"] if options.grpc_socket_path else [])


def _credentials(options: Options) -> grpc.ServerCredentials | None:
    if not options.ssl_config_file:
        return None
    said = read_proto(Path(options.ssl_config_file), empty("SSLConfig"))
    pair = (said.server_key.encode(), said.server_cert.encode())
    return grpc.ssl_server_credentials([pair], said.custom_ca.encode() or None, said.client_verify)


def _metrics_path(options: Options) -> str | None:
    if not options.monitoring_config_file:
        return None
    said = read_proto(Path(options.monitoring_config_file), empty("MonitoringConfig")).prometheus_config
    return (said.path or _METRICS_PATH) if said.enable else None


@contextmanager
def _rest(options: Options, calls: Calls, metrics_path: str | None) -> Iterator[None]:
    """Serve REST requests inside a `with` block."""
    application = RestApi(
        calls=calls,
        num_threads=options.rest_api_num_threads,
        timeout_seconds=options.rest_api_timeout_in_ms / 1000,
        with_cors=options.rest_api_enable_cors_support,
        metrics_path=metrics_path,
        access=Access(options.log_requests),
    )
    # Bound here, because the library would exit the process if the address is in use.
    listening = _listening(options)
    config = uvicorn.Config(
        application,
        http=TimedConnection,
        # Not used here.
        ws="none",
        log_config=None,
        log_level="critical",
        access_log=False,
        # The header would name the library.
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=int(_GRACE_SECONDS),
    )
    server = uvicorn.Server(config)
    # In another thread it must leave the signals alone.
    thread = threading.Thread(target=server.run, args=([listening],), name="rest", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def check_ports(options: Options) -> None:
    """Check that the ports are free, before the models are loaded.

    They are not kept, as whoever connected would wait until the models are loaded, and think that the server is up.

    Raises:
        ValueError: an address is taken, or none of this machine.
    """
    for flag in ("port", "rest_api_port"):
        if getattr(options, flag):
            _bound(options.host, getattr(options, flag), flag).close()
    path = options.grpc_socket_path
    if path and not Path(path).absolute().parent.is_dir():
        raise ValueError(f"--grpc_socket_path={path}: there is no directory {Path(path).absolute().parent}")


def _bound(host: str, port: int, flag: str) -> socket.socket:
    """Return a listening socket.

    Args:
        host: name or address of this machine.
        port: not 0.
        flag: that named the port.

    Raises:
        ValueError: the address is taken, or none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio knows it for TCP and sends small answers at once, not after 40 ms.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(_WAITING_CONNECTIONS)
    except (OSError, OverflowError) as error:
        found.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"--{flag}={port}: cannot listen on {host}:{port} ({reason}); choose a free port") from None
    return found


def _listening(options: Options) -> socket.socket:
    """Return a listening socket; connections wait until the server accepts them.

    Raises:
        ValueError: the address is taken, or none of this machine.
    """
    return _bound(options.host, options.rest_api_port, "rest_api_port")


@contextmanager
def _rereading(options: Options, manager: ModelManager) -> Iterator[None]:
    """Reload the config file periodically inside a `with` block."""
    ended = threading.Event()
    path = Path(options.model_config_file)
    last = path.read_bytes()

    def reread() -> None:
        nonlocal last
        while not ended.wait(options.model_config_file_poll_wait_seconds):
            try:
                now = path.read_bytes()
                if now != last:
                    last = now
                    manager.reload(_config(options))
            except Exception as error:
                # Keep the current models; the next version of the file may be valid.
                logger.error("%s: %s; the models stay as they are", path, error)

    thread = threading.Thread(target=reread, name="config", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
