"""The command lines of the tools: options, output, and error messages."""

import itertools
import json
import subprocess
import sys

import pytest
from support import small

HELP = {"-h", "--help"}
# Options that scripts of users depend on: none may disappear or change accidentally.
OPTIONS = {
    "train": {
        "--task", "--data", "--encoder", "--out", "--name", "--seed", "--seeds", "--config", "--set", "--adapt",
        "--no-export", "--list",
    },
    "pretrain": {
        "what", "--corpus", "--prepared", "--encoder", "--from-scratch", "--vocabulary", "--size", "--out", "--show",
        "--seed", "--config", "--set", "--allow-code", "--list", "--beam",
    },
    "search": {
        "--task", "--data", "--encoder", "--algorithm", "--trials", "--hours", "--executions", "--confirm", "--keep",
        "--stop-hopeless", "--workers", "--space", "--out", "--name", "--config", "--set", "--no-export", "--restart",
    },
    "evaluate": {"model", "--data", "--task", "--set"},
    "check": {"--task", "--data", "--encoder", "--config", "--set", "--json"},
    "predict": {
        "model", "texts", "--file", "--columns", "--set", "--server", "--header", "--ca", "--version", "--batch-size",
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
    "export": {
        "run", "--name", "--task", "--pairs", "--precision", "--vectors", "--huggingface", "--litert", "--deploy",
        "--cores",
    },
}  # fmt: skip
# Log lines that may precede the error: how files were read, and statistics of the data.
LOG_PREFIXES = ("train.csv", "test.csv", "wrong.csv", "train 24, ", "length of train", "unknown tokens")
SMALL = small.assignments({"encoder.name": "tiny", "encoder.sequence_length": 32, "train.epochs": 1})
# Arguments of train and a part of the error message.
MISTAKES = {
    "task": (["--task", "clasification"], "task 'clasification' is not one of"),
    "task to list": (["--list", "--task", "clasification"], "task 'clasification' is not one of"),
    "misspelt path": (["--set", "train.learning_rat=1"], "config has no field 'train.learning_rat'; did you mean"),
    "no equals sign": (["--set", "train.epochs"], "--set train.epochs: expected section.field=value"),
    "type": (["--set", "train.epochs=two"], "train.epochs=two: expected a whole number"),
    "range": (["--set", "train.learning_rate=0"], "train.learning_rate=0.0: expected more than 0"),
    "choice": (["--set", "encoder.precision=half"], "encoder.precision='half': expected auto, float32,"),
    "data": (["--data", "nowhere.csv"], "nowhere.csv"),
    "encoder": (["--data", "data", "--set", "encoder.name=tinny"], "tinny"),
    "length": (["--data", "data", "--set", "encoder.sequence_length=513"], "positions for at most 512 tokens"),
    "label": (
        ["--data", "odd"],
        "label 'cards' is not one of the 3 labels of train; did you mean 'card'?",
    ),
    "config": (["--config", "none.json"], "none.json"),
    "config is a directory": (["--config", "data"], "data"),
    "broken config": (["--config", "broken.json"], "broken.json"),
    "out is a file": (["--data", "data", "--out", "broken.json"], "broken.json"),
    "seeds": (["--seeds", "0"], "--seeds 0: expected 1 or more"),
    "name elsewhere": (["--data", "data", "--name", "../../x"], "--name '../../x': expected the name of one directory"),
    "no name": (["--data", "data", "--name", ""], "--name '': expected the name of one directory"),
}


UNKNOWN = (
    "evaluate: wrong.csv:4: label 'cards' is not one of the 3 labels of train; did you mean 'card'? 1 record with this "
    "label: add examples of it to train, or remove or relabel this record"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tools")
    small.write_data(path / "data")
    odd = small.write_data(path / "odd")
    with open(odd / "test.csv", "a") as stream:
        stream.write("one more,cards\n")
    (path / "broken.json").write_text('{"task": ')
    return path


@pytest.fixture(scope="module")
def mistakes(folder):
    """Run train with each of the mistakes and return the results."""
    tools = small.tools()
    steps = [tools.step("train", *SMALL, *arguments, cwd=folder) for arguments, _ in MISTAKES.values()]
    return dict(zip(MISTAKES, [result for (result,) in tools.run(*[[step] for step in steps])], strict=True))


@pytest.mark.parametrize("name", OPTIONS)
def test_command_line(name):
    parser = small.load_command(name).build_parser(name)
    options = set()
    for action in parser._actions:
        options |= set(action.option_strings or [action.dest])
        assert action.help
    assert options - HELP == OPTIONS[name]
    assert parser.prog == name


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_reported_in_one_line(mistakes, mistake):
    result, message = mistakes[mistake], MISTAKES[mistake][1]
    assert result.code == 2, result.err
    *log_lines, error_line = result.err.splitlines()
    assert all(line.startswith(LOG_PREFIXES) for line in log_lines), result.err
    assert error_line.startswith("train: ")
    assert message in error_line
    assert result.out == ""


def test_a_mistake_in_a_fresh_process(tmp_path):
    # Not a forked process, which might behave differently.
    command = [sys.executable, small.TOOLS / "evaluate.py", "nowhere", "--data", "x.csv"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "evaluate: nowhere: contains no SavedModel; expected saved_models/NAME or a version in it\n"


@pytest.fixture(scope="module")
def finished(folder):
    """Run the tools, with correct and with wrong arguments; return the results and the run directory."""
    tools = small.tools()
    run_dir, model_dir = small.finished_run()
    test = run_dir.parent / "data" / "test.csv"
    lines = test.read_text().splitlines(keepends=True)
    (folder / "wrong.csv").write_text("".join([*lines[:3], "what,cards\n"]))

    def step(tool, *args):
        return tools.step(tool, *args, cwd=folder)

    options = small.assignments({"train.batch_size": 8, "train.learning_rate": 2e-3})
    chains = {
        "train": [step("train", *SMALL, *options, "--data", "data")],
        "export": [step("export", run_dir, "--name", "again", "--deploy", "production", "--cores", 2)],
        "deploy": [step("export", model_dir, "--deploy", "rendered"), step("export", model_dir, "--deploy", "data")],
        "deploy under a bad name": [step("export", run_dir, "--name", "银行", "--deploy", "bad")],
        "cores of nothing": [step("export", run_dir, "--cores", 2)],
        "precision of a form": [step("export", run_dir, "--litert", "lite", "--precision", "bfloat16")],
        "precision of what is exported": [
            step("export", model_dir, "--deploy", "narrow", "--precision", "bfloat16"),
        ],
        "evaluate run": [step("evaluate", run_dir, "--data", test)],
        "evaluate model": [step("evaluate", model_dir, "--data", test)],
        "evaluate directory": [step("evaluate", model_dir / "1", "--data", test.parent)],
        "unknown label": [step("evaluate", run_dir, "--data", "wrong.csv")],
        "unknown label of a model": [step("evaluate", model_dir, "--data", "wrong.csv")],
        "no data": [step("evaluate", model_dir, "--data", "nowhere.csv")],
        "no run": [step("export", "data")],
        "to huggingface": [
            step("export", run_dir, "--huggingface", "converted"),
            step("export", "converted", "--pairs"),
            step("export", run_dir, "--task", "classification"),
        ],
        "list": [step("train", "--list")],
        "list of a task": [step("train", "--list", "--task", "ner"), step("train", "--list", "--set", "task=ner")],
        "name of an export": [step("export", run_dir, "--name", "a/b")],
        "name of a search": [step("search", "--data", "data", "--name", "..")],
    }
    return dict(zip(chains, tools.run(*chains.values()), strict=True)), run_dir


def test_train_prints_scores_and_paths(finished, folder):
    (result,) = finished[0]["train"]
    assert result.code == 0, result.err
    assert "test accuracy" in result.out
    assert "saved model saved_models/data/1  (verified on 8 requests in a fresh process)" in result.out
    assert result.out.count("    -> {") == 2
    assert (folder / "saved_models" / "data" / "1" / "saved_model.pb").exists()
    assert len(list((folder / "runs" / "classification").iterdir())) == 1


def test_run_and_saved_model_have_equal_scores(finished):
    results, run_dir = finished
    by_run, by_model, by_directory = [
        json.loads(results[f"evaluate {name}"][0].out) for name in ("run", "model", "directory")
    ]
    report = json.loads((run_dir / "report.json").read_text())
    assert by_run["metrics"] == by_model["metrics"] == by_directory["metrics"] == report["test"]["metrics"]
    assert by_run["per_label"] == by_model["per_label"] == report["test"]["per_label"]
    assert by_run["num_examples"] == by_model["num_examples"] == report["test"]["num_examples"]


def test_export_again(finished, folder):
    (result,) = finished[0]["export"]
    assert result.code == 0, result.err
    assert result.out.splitlines()[0] == "saved_models/again/1"
    assert "loads in TensorFlow Serving 2.12.1 and later" in result.out
    assert "start with production/README.md)" in result.out
    deployment = (folder / "production" / "kubernetes" / "base" / "serving.yaml").read_text()
    assert "image: again:1" in deployment
    assert 'cpu: "2"' in deployment


def test_export_to_huggingface(finished):
    written, pairs, task = finished[0]["to huggingface"]
    assert written.code == 0, written.err
    first, second = written.out.splitlines()
    assert first == "converted  (TfbertForSequenceClassification, 2 layers, hidden size 32)"
    assert second.endswith('AutoModelForSequenceClassification.from_pretrained("converted", trust_remote_code=True)')
    assert pairs.err == "export: --pairs: converted does not need it; its inputs are known\n"
    assert "export: --task applies to a SavedModel of a Hugging Face model; expected one, not " in task.err


def test_deploy_an_exported_model(finished, folder):
    rendered, refused = finished[0]["deploy"]
    assert rendered.code == 0, rendered.err
    assert "image: model:1" in (folder / "rendered" / "kubernetes" / "base" / "serving.yaml").read_text()
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "export: data: is not empty; expected a new directory" in refused.err


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("unknown label", UNKNOWN),
        ("unknown label of a model", UNKNOWN),
        ("no data", "nowhere.csv"),
        ("deploy under a bad name", "export: model name '银行': expected at most 40 of"),
        ("cores of nothing", "export: --cores applies to a deployment; add --deploy DIR"),
        ("precision of a form", "export: --precision applies to a new SavedModel; it cannot be combined with --litert"),
        ("precision of what is exported", "export: --precision applies to a new SavedModel; expected a run, not "),
        ("name of an export", "export: --name 'a/b': expected the name of one directory"),
        ("name of a search", "search: --name '..': expected the name of one directory"),
        ("no run", "export: data: contains no finished run; expected a directory with report.json"),
    ],
)
def test_mistakes_of_the_other_tools(finished, case, message):
    (result,) = finished[0][case]
    *log_lines, error_line = result.err.splitlines()
    assert result.code == 2
    assert all(line.startswith(LOG_PREFIXES) for line in log_lines), result.err
    assert message in error_line


def test_list(finished):
    (result,) = finished[0]["list"]
    assert result.code == 0
    for name in ("classification", "minilm", "tiny", "train.learning_rate", "0.0002"):
        assert name in result.out
    assert "labelled spans of a text, with their positions (also: ner, " in result.out
    lines = result.out.splitlines()
    for path, default, allowed in (
        ("data.path", "none", "(text or none)"),
        ("data.separator", r"'\t'", "(text)"),
        ("head.pooling", "mean", "(mean, max, cls or pooler)"),
        ("train.ema_momentum", "0.0", "(0 or more, below 1)"),
    ):
        (number,) = [number for number, line in enumerate(lines) if line.split()[:1] == [path]]
        assert lines[number].split()[1:] == [default]
        details = itertools.takewhile(lambda line: line.startswith(" " * 6), lines[number + 1 :])
        assert " ".join(map(str.strip, details)).endswith(allowed)


def test_list_of_a_task(finished):
    results = finished[0]["list of a task"]
    assert [result.code for result in results] == [0, 0]
    assert "config fields (--set) of entities, with their defaults" in results[0].out
    assert "data.tag_scheme" in results[0].out and "head.pooling" not in results[0].out
    assert results[1].out == results[0].out


def test_long_lists_of_a_sample_prediction_are_not_printed(monkeypatch):
    exporting = small.load_command("exporting")
    version_dir = small.finished_run()[1] / "1"
    [(item, outputs)] = exporting.predict(version_dir, [{"text": "my card pin"}])
    assert item == {"text": "my card pin"} and outputs["label"] == "card" and len(outputs["probabilities"]) == 3
    monkeypatch.setattr(exporting, "_MAX_LIST", 2)
    [(_, printed)] = exporting.predict(version_dir, [{"text": "my card pin"}])
    assert printed.keys() == outputs.keys() - {"probabilities"}
