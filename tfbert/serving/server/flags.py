"""The command-line flags of `tensorflow_model_server`, with the real server's names and defaults."""

import argparse
import importlib.metadata
import ipaddress
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import tfbert

API_RELEASE = "2.20.0"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a server; the names are those of the flags.

    Args:
        port: gRPC port; 0 for none.
        rest_api_port: REST port; 0 for none.
        host: address to listen on. The real server listens on all addresses, which is `0.0.0.0`.
        grpc_socket_path: path of a unix socket for gRPC, in addition to the port.
        model_name: name of the model, if there is no config file.
        model_base_path: absolute path of the directory with the model's numbered versions.
        model_config_file: text proto with several models.
        model_config_file_poll_wait_seconds: interval between readings of the config file; 0 reads it once.
        file_system_poll_wait_seconds: interval between searches for new versions; 0 searches once.
        max_num_load_retries: number of retries for a version that does not load.
        load_retry_interval_micros: interval between these retries.
        allow_version_labels_for_unavailable_models: whether labels may name versions that are not loaded yet.
        enable_model_warmup: whether the model's warm-up requests are replayed before it becomes available.
        num_request_iterations_for_warmup: number of replays; 0 means one.
        enable_batching: whether requests are joined into batches.
        batching_parameters_file: text proto with the parameters of batching.
        rest_api_num_threads: number of concurrent REST requests.
        grpc_max_threads: number of concurrent gRPC calls.
        enable_grpc_healthcheck_service: whether gRPC has the service `grpc.health.v1.Health`.
        rest_api_timeout_in_ms: time limit of a REST request.
        rest_api_enable_cors_support: whether web pages of other origins may send requests.
        ssl_config_file: text proto with the PEM texts of TLS, for gRPC.
        monitoring_config_file: text proto that turns metrics on.
        tensorflow_intra_op_parallelism: threads per operation; 0 means all cores.
        tensorflow_inter_op_parallelism: concurrent operations; 0 means all cores.
        log_requests: whether the access log contains request bodies, with numbers and addresses masked. The real
            server does not have this flag.
    """

    port: int = 8500
    rest_api_port: int = 0
    host: str = "127.0.0.1"
    grpc_socket_path: str = ""
    model_name: str = "default"
    model_base_path: str = ""
    model_config_file: str = ""
    model_config_file_poll_wait_seconds: int = 0
    file_system_poll_wait_seconds: int = 1
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    allow_version_labels_for_unavailable_models: bool = False
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 0
    enable_batching: bool = False
    batching_parameters_file: str = ""
    rest_api_num_threads: int = 4 * (os.cpu_count() or 1)
    grpc_max_threads: int = 4 * (os.cpu_count() or 1)
    enable_grpc_healthcheck_service: bool = False
    rest_api_timeout_in_ms: int = 30_000
    rest_api_enable_cors_support: bool = False
    ssl_config_file: str = ""
    monitoring_config_file: str = ""
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0
    log_requests: bool = False

    def check(self) -> None:
        """Reject combinations that the real server rejects.

        Raises:
            ValueError: options contradict each other.
        """
        if not self.model_config_file and not self.model_base_path:
            raise ValueError("--model_base_path is empty; wanted the directory of a model, or --model_config_file")
        if self.port and self.port == self.rest_api_port:
            raise ValueError(f"--rest_api_port={self.rest_api_port} is --port too; wanted another one")
        if not self.port and not self.rest_api_port and not self.grpc_socket_path:
            raise ValueError("--port=0 and --rest_api_port=0: nobody could ask; wanted one of them")
        if self.batching_parameters_file and not self.enable_batching:
            raise ValueError("--batching_parameters_file without --enable_batching=true has no effect; wanted both")
        for name in ("rest_api_num_threads", "grpc_max_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name}={getattr(self, name)}: wanted 1 or more")

    @property
    def exposure(self) -> str:
        """A warning about who can access the server and what they can do; empty if only this machine can."""
        try:
            is_local = self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            is_local = False
        if is_local:
            return ""
        where = [f"{kind} port {port}" for kind, port in (("gRPC", self.port), ("REST", self.rest_api_port)) if port]
        if not where:
            return ""
        who = f"--host={self.host}: everyone who can reach this machine can query the models ({', '.join(where)})"
        more = " and, over gRPC, make the server load or unload models" if self.port else ""
        is_encrypted = self.ssl_config_file and not self.rest_api_port
        without = (
            "no password" if is_encrypted else f"no password and {'over REST ' * bool(self.ssl_config_file)}no TLS"
        )
        return f"{who}{more}; there is {without}"


# Flags of the real server that have no effect here.
# Source: TensorFlow Serving 2.20.0, `model_servers/main.cc`. All its flags are here or in `Options`, except `version`.
WITHOUT_EFFECT = (
    "num_load_threads",
    "num_unload_threads",
    "flush_filesystem_caches",
    "enable_per_model_batching_parameters",
    "tensorflow_session_parallelism",
    "tensorflow_session_config_file",
    "saved_model_tags",
    "use_alts_credentials",
    "prefer_tflite_model",
    "xla_cpu_compilation_enabled",
    "mixed_precision",
    "enable_signature_method_name_check",
    "enable_profiler",
    "enable_serialization_as_tensor_content",
    "remove_unused_fields_from_bundle_metagraph",
    "grpc_channel_arguments",
    "platform_config_file",
    "per_process_gpu_memory_fraction",
    "num_tflite_pools",
    "num_tflite_interpreters_per_pool",
    "xla_gpu_compilation_enabled",
    "thread_pool_factory_config_file",
    "skip_initialize_tpu",
)


class _Version(argparse.Action):
    """Prints the versions and exits, as the real server does."""

    def __call__(self, parser, namespace, values, option_string=None):
        if not values:
            return
        found = [f"TensorFlow ModelServer: tfbert {tfbert.__version__} (the API of {API_RELEASE})"]
        found.append(f"TensorFlow Library: {_tensorflow_version()}")
        sys.stdout.write("\n".join(found) + "\n")
        parser.exit(0)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add all flags to a parser, with the descriptions in the docstring of `Options`."""
    helps = _helps()
    for field in fields(Options):
        more = {"default": field.default, "help": helps[field.name]}
        if field.type is bool or isinstance(field.default, bool):
            parser.add_argument(f"--{field.name}", type=_bool, nargs="?", const=True, metavar="BOOL", **more)
        else:
            kind = type(field.default)
            parser.add_argument(f"--{field.name}", type=kind, metavar=kind.__name__.upper(), **more)
    version = {"action": _Version, "type": _bool, "nargs": "?", "const": True, "metavar": "BOOL"}
    parser.add_argument("--version", default=argparse.SUPPRESS, help="print the versions and exit", **version)
    for name in WITHOUT_EFFECT:
        parser.add_argument(f"--{name}", nargs="?", const="true", help=argparse.SUPPRESS)


def options_of(said: Mapping[str, Any]) -> tuple[Options, list[str]]:
    """Return the options of a parsed command line, and the given flags that have no effect here."""
    names = {field.name for field in fields(Options)}
    ignored = [name for name in WITHOUT_EFFECT if said.get(name) is not None]
    return Options(**{name: value for name, value in said.items() if name in names}), ignored


def _tensorflow_version() -> str:
    try:
        return importlib.metadata.version("tensorflow")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _helps() -> dict[str, str]:
    described = re.findall(r"^ {8}(\w+): ((?:.*\n(?: {12}.*\n)*))", Options.__doc__, re.MULTILINE)
    return {name: " ".join(text.split()).rstrip(".") for name, text in described}


def _bool(text: str) -> bool:
    if text.lower() in ("true", "1", "t"):
        return True
    if text.lower() in ("false", "0", "f"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
