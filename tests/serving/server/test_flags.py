"""The command line of the server: all flags of the real server, and the warning for `--host`."""

import argparse
import re

import pytest

from tfbert.serving.server.flags import Options, add_flags, options_of
from tfbert.serving.server.server import check_ports

# Of `tensorflow_model_server` 2.20.0, `model_servers/main.cc`.
NAMES = """
port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms rest_api_enable_cors_support
enable_batching allow_version_labels_for_unavailable_models batching_parameters_file
enable_per_model_batching_parameters model_config_file model_config_file_poll_wait_seconds model_name model_base_path
num_load_threads num_unload_threads max_num_load_retries load_retry_interval_micros file_system_poll_wait_seconds
flush_filesystem_caches tensorflow_session_parallelism tensorflow_session_config_file tensorflow_intra_op_parallelism
tensorflow_inter_op_parallelism use_alts_credentials ssl_config_file platform_config_file
per_process_gpu_memory_fraction saved_model_tags grpc_channel_arguments grpc_max_threads enable_model_warmup
num_request_iterations_for_warmup version monitoring_config_file remove_unused_fields_from_bundle_metagraph
prefer_tflite_model num_tflite_pools num_tflite_interpreters_per_pool enable_signature_method_name_check
xla_cpu_compilation_enabled xla_gpu_compilation_enabled enable_profiler thread_pool_factory_config_file
mixed_precision skip_initialize_tpu enable_grpc_healthcheck_service enable_serialization_as_tensor_content
"""
REAL = re.findall(r"\w+", NAMES)
BASE = {"model_base_path": "/models"}


@pytest.fixture
def parser():
    found = argparse.ArgumentParser()
    add_flags(found)
    return found


def test_every_flag_of_the_real_server_is_taken(parser):
    taken = {option.removeprefix("--") for action in parser._actions for option in action.option_strings}
    assert set(REAL) - taken == set()
    assert taken - set(REAL) == {"-h", "help", "host", "log_requests"}


def test_flags_without_effect_are_told(parser):
    said = [
        "--platform_config_file=/p",
        "--per_process_gpu_memory_fraction=0.5",
        "--num_tflite_pools=2",
        "--num_tflite_interpreters_per_pool=2",
        "--xla_gpu_compilation_enabled",
        "--thread_pool_factory_config_file=/t",
        "--skip_initialize_tpu=true",
        "--version=false",
    ]
    options, ignored = options_of(vars(parser.parse_args(said)))
    assert options == Options()
    assert ignored == [flag.removeprefix("--").partition("=")[0] for flag in said[:-1]]


def test_the_version_is_printed(parser, capsys):
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["--version"])
    assert caught.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("TensorFlow ModelServer: tfbert ") and "2.20.0" in lines[0]
    assert lines[1].startswith("TensorFlow Library: 2.")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_an_address_of_this_machine_alone_exposes_nothing(host):
    assert Options(host=host, **BASE).exposure == ""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"rest_api_port": 8501},
            "--host=0.0.0.0: everyone who can reach this machine can query the models (gRPC port 8500, REST port 8501) "
            "and, over gRPC, make the server load or unload models; there is no password and no TLS",
        ),
        (
            {"port": 0, "rest_api_port": 8501},
            "--host=0.0.0.0: everyone who can reach this machine can query the models (REST port 8501); there is no "
            "password and no TLS",
        ),
        (
            {"ssl_config_file": "/s"},
            "--host=0.0.0.0: everyone who can reach this machine can query the models (gRPC port 8500) and, over gRPC, "
            "make the server load or unload models; there is no password",
        ),
        (
            {"ssl_config_file": "/s", "rest_api_port": 8501},
            "--host=0.0.0.0: everyone who can reach this machine can query the models (gRPC port 8500, REST port 8501) "
            "and, over gRPC, make the server load or unload models; there is no password and over REST no TLS",
        ),
        ({"port": 0, "grpc_socket_path": "/s"}, ""),
    ],
)
def test_what_another_address_exposes_is_one_line(options, expected):
    assert Options(host="0.0.0.0", **BASE, **options).exposure == expected


def test_a_name_is_not_taken_for_this_machine_alone():
    assert Options(host="server.example", **BASE).exposure.startswith("--host=server.example: everyone who can reach")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "192.0.2.1"}, r"--port=8500: cannot listen on 192.0.2.1:8500 \(Cannot assign requested address\)"),
        ({"port": 70_000}, "--port=70000: cannot listen on 127.0.0.1:70000 .*0-65535"),
        (
            {"port": 0, "grpc_socket_path": "/nowhere/s"},
            "--grpc_socket_path=/nowhere/s: there is no directory /nowhere",
        ),
    ],
)
def test_addresses_that_cannot_be_had(options, message):
    with pytest.raises(ValueError, match=message):
        check_ports(Options(**BASE, **options))
