"""The command lines of the commands, and the scripts in `tools/` that run them."""

import runpy

import pytest
from support import small

from tfbert.__main__ import COMMANDS

HELP = {"-h", "--help"}
# Options that scripts of users depend on: none may disappear or change accidentally.
OPTIONS = {
    "train": {
        "--task", "--data", "--train", "--validation", "--calibration", "--test", "--format",
        "--encoder", "--out", "--name", "--seed", "--corrections",
        "--seeds", "--config", "--set", "--adapt",
        "--no-export", "--list",
    },
    "pretrain": {
        "what", "--corpus", "--prepared", "--encoder", "--from-scratch", "--vocabulary", "--size", "--out", "--show",
        "--seed", "--config", "--set", "--allow-code", "--list", "--beam",
    },
    "search": {
        "--task", "--data", "--train", "--validation", "--calibration", "--test", "--format",
        "--encoder", "--algorithm", "--trials",
        "--hours", "--executions", "--confirm", "--keep",
        "--stop-hopeless", "--workers", "--space", "--out", "--name", "--config", "--set", "--no-export", "--restart",
    },
    "evaluate": {
        "model", "--data", "--format", "--task", "--robustness", "--max-examples", "--audit", "--group-column",
        "--groups", "--set",
    },
    "compare": {"models", "--data", "--set", "--metric", "--out", "--runs"},
    "check": {
        "--task", "--data", "--train", "--validation", "--calibration", "--test", "--format",
        "--encoder", "--config", "--set", "--json", "--doubtful", "--out",
    },
    "predict": {
        "model", "texts", "--file", "--format", "--out", "--top", "--columns", "--set", "--server", "--header", "--ca",
        "--version",
        "--batch-size", "--explain", "--label",
    },
    "serve": {
        "--port", "--rest_api_port", "--host", "--grpc_socket_path", "--model_name", "--model_base_path",
        "--model_config_file", "--model_config_file_poll_wait_seconds", "--file_system_poll_wait_seconds",
        "--max_num_load_retries", "--load_retry_interval_micros", "--allow_version_labels_for_unavailable_models",
        "--enable_model_warmup", "--num_request_iterations_for_warmup", "--enable_batching",
        "--batching_parameters_file", "--rest_api_num_threads", "--grpc_max_threads", "--rest_api_timeout_in_ms",
        "--rest_api_enable_cors_support", "--ssl_config_file", "--monitoring_config_file",
        "--tensorflow_intra_op_parallelism", "--tensorflow_inter_op_parallelism", "--log_requests",
        "--num_load_threads", "--num_unload_threads", "--flush_filesystem_caches",
        "--enable_per_model_batching_parameters", "--tensorflow_session_parallelism",
        "--tensorflow_session_config_file", "--saved_model_tags", "--use_alts_credentials", "--prefer_tflite_model",
        "--xla_cpu_compilation_enabled", "--mixed_precision", "--enable_signature_method_name_check",
        "--enable_profiler", "--enable_grpc_healthcheck_service", "--enable_serialization_as_tensor_content",
        "--remove_unused_fields_from_bundle_metagraph", "--grpc_channel_arguments", "--platform_config_file",
        "--per_process_gpu_memory_fraction", "--num_tflite_pools", "--num_tflite_interpreters_per_pool",
        "--xla_gpu_compilation_enabled", "--thread_pool_factory_config_file", "--skip_initialize_tpu", "--version",
    },
    "list": {"--task"},
    "export": {
        "run", "--name", "--task", "--pairs", "--precision", "--vectors", "--huggingface", "--litert", "--deploy",
        "--cores", "--no-explanations",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_command_line(name):
    parser = small.load_command(name).build_parser(name)
    options = set()
    for action in parser._actions:
        options |= set(action.option_strings or [action.dest])
        assert action.help
    assert options - HELP == OPTIONS[name]
    assert parser.prog == name


def test_every_command_has_options_and_a_script():
    assert set(OPTIONS) == set(COMMANDS) == {path.stem for path in small.TOOLS.glob("*.py")}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_script_runs_the_command_of_its_name(name, monkeypatch):
    command, calls = small.load_command(name), []
    monkeypatch.setattr(command, "run", lambda: calls.append(name))
    runpy.run_path(str(small.TOOLS / f"{name}.py"), run_name="__main__")
    assert calls == [name]
