"""Deployment of an exported model on stock TensorFlow Serving: renders the templates in `deploy/`."""

import json
import math
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

import jinja2
import tensorflow as tf

from tfbert.files import writing
from tfbert.models.predictions import prediction_of
from tfbert.serving.export import exported_task
from tfbert.serving.export_run import decode_bytes
from tfbert.serving.saved_predictor import SavedPredictor
from tfbert.serving.warmup import read_warmup
from tfbert.tasks.base_outputs import Outputs
from tfbert.text.inputs import from_json

# Releases that the templates were written for, as exact image tags.
RELEASES = {
    "serving_release": "2.20.0",
    "envoy_release": "v1.38.0",
    "prometheus_release": "v3.5.0",
    "grafana_release": "12.2.0",
    "python_release": "3.13.14",
}

TEMPLATES_DIR = Path(__file__).parent / "deploy"
_GIB = 2**30
# The user of Envoy's image; runs the proxy if the files are rendered by root.
_ENVOY_USER = 101


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Settings of a deployment.

    Args:
        cores: CPU cores of one server, which is also the number of operations that run concurrently.
        requests_per_second: rate limit per client at one proxy.
        body_bytes: size limit of a request body.
        sampled_fraction: fraction of the REST responses that drift detection counts.
        latency_limit: alert threshold of the 99th percentile, in microseconds; quantiles are exact at a bucket boundary
            of TensorFlow Serving's histogram.
    """

    cores: int = 4
    requests_per_second: int = 100
    body_bytes: int = 4 * 2**20
    sampled_fraction: float = 0.05
    latency_limit: int = 393464


def check(name: str, out_dir: Path, deployment: Deployment) -> None:
    """Check the arguments of a deployment, before a model is exported for it.

    Args:
        name: the name of the model.
        out_dir: where the files would be written.
        deployment: the settings.

    Raises:
        ValueError: the name is invalid in some of the files, the directory is not empty, or there are no cores.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", name):
        raise ValueError(f"model name '{name}': expected at most 40 of A-Z, a-z, 0-9, '.', '_' and '-'; use --name")
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise ValueError(
            f"{out_dir}: is not empty; expected a new directory, as this one may contain keys and your changes"
        )
    if deployment.cores < 1:
        raise ValueError(f"--cores {deployment.cores}: expected 1 or more")


def render(version_dir: Path, out_dir: Path, deployment: Deployment | None = None) -> list[Path]:
    """Write the files that deploy one version of a model.

    Args:
        version_dir: `saved_models/NAME/VERSION`.
        out_dir: created if missing; each template is rendered to the same relative path in it.
        deployment: the settings; `None` for the defaults.

    Returns:
        The files written, in order. Files with a key or a password are readable only by the user who renders.

    Raises:
        ValueError: `check` rejects the arguments, or `version_dir` is not named by a number.
    """
    deployment = deployment or Deployment()
    check(version_dir.resolve().parent.name, out_dir, deployment)
    if not version_dir.name.isdecimal():
        raise ValueError(f"{version_dir}: is not a version; expected saved_models/NAME/VERSION")
    values = _values(version_dir, deployment)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES_DIR),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        # Grafana, Prometheus and KServe use braces themselves.
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    # Render everything before writing, so that a failing template leaves no partial deployment.
    # Installing a package compiles its Python files, also those that are templates.
    names = environment.list_templates(filter_func=lambda name: "__pycache__" not in name)
    texts = {name: environment.get_template(name).render(values) for name in sorted(names)}
    texts |= _examples(version_dir)
    secret_texts = (values["key"], values["password"])
    for name, text in texts.items():
        path = out_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if any(secret in text for secret in secret_texts):
            with writing(path):
                _write_secret(path, text)
            continue
        with writing(path):
            path.write_text(text, encoding="utf-8")
        if (TEMPLATES_DIR / name).exists():
            path.chmod((TEMPLATES_DIR / name).stat().st_mode & 0o777)
    return [out_dir / name for name in texts]


def _write_secret(path: Path, text: str) -> None:
    """Write a new file that no other user can read at any time, whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)


def _drift_output(outputs: Outputs) -> str:
    """Return the output whose mean is monitored for drift: the confidence, or else the predicted number."""
    numbers = {output.role: output.name for output in reversed(outputs) if output.dtype != "string"}
    return numbers["confidence" if "confidence" in numbers else "answer"]


def _values(version_dir: Path, deployment: Deployment) -> dict:
    """Return the variables of the templates."""
    version_dir = version_dir.resolve()
    name = version_dir.parent.name
    task = exported_task(version_dir)
    abstain = next((output for output in task.outputs if output.role == "abstain"), None)
    return {
        **RELEASES,
        **vars(deployment),
        "name": name,
        "name_in_regex": name.replace(".", "[.]"),
        # Valid in Kubernetes, compose and DNS.
        "service": re.sub("[^a-z0-9]+", "-", name.lower()).strip("-"),
        "version": int(version_dir.name),
        "model_dir": str(version_dir.parent),
        "title": task.definition.title,
        "input_names": list(next(read_warmup(version_dir)).inputs),
        "memory_gib": _memory_gib(version_dir),
        "execution_batch": 32,
        "score": _drift_output(task.outputs),
        # `None` if the model has no label for each record, or never abstains.
        "label_output": next((output.name for output in task.outputs if output.is_label), None),
        "abstain_output": abstain.name if abstain else None,
        "abstain_value": json.dumps(abstain.abstain_value) if abstain else None,
        "thread_flags": _thread_flags(deployment.cores),
        "server_flags": _server_flags(deployment.cores),
        "requests_per_server": 10 * deployment.cores,
        # The user who renders can read the keys, so the proxy of compose runs as that user, but never as root.
        "is_root": os.getuid() == 0,
        "proxy_uid": os.getuid() or _ENVOY_USER,
        "proxy_gid": os.getgid() or _ENVOY_USER,
        "key": secrets.token_urlsafe(24),
        "password": secrets.token_urlsafe(12),
    }


def _thread_flags(cores: int) -> list[str]:
    # By default the server counts the cores of the node, not those of its container. Each request gets one core: the
    # products of a small encoder are too short for a second thread to pay off.
    return [
        "--tensorflow_intra_op_parallelism=1",
        f"--tensorflow_inter_op_parallelism={cores}",
        f"--rest_api_num_threads={4 * cores}",
        f"--grpc_max_threads={4 * cores}",
    ]


def _server_flags(cores: int) -> list[str]:
    return [
        "--port=8500",
        "--rest_api_port=8501",
        "--model_config_file=/etc/serving/models.config",
        "--monitoring_config_file=/etc/serving/monitoring.config",
        "--enable_batching=true",
        "--batching_parameters_file=/etc/serving/batching.config",
        *_thread_flags(cores),
        "--num_load_threads=1",
        "--max_num_load_retries=0",
        "--file_system_poll_wait_seconds=10",
        "--enable_profiler=false",
        "--enable_grpc_healthcheck_service=true",
        # Connections are closed regularly, so that clients find new servers.
        "--grpc_channel_arguments=grpc.max_connection_age_ms=60000,grpc.max_connection_age_grace_ms=30000",
    ]


def _memory_gib(version_dir: Path) -> int:
    """Return the memory limit of one server in GiB: two versions during an update, TensorFlow, and batches."""
    size = sum(path.stat().st_size for path in version_dir.rglob("*") if path.is_file())
    return math.ceil((4 * size + 1.5 * _GIB) / _GIB)


def _examples(version_dir: Path) -> dict[str, str]:
    """Return a REST request with real items and the expected response, by file name."""
    *_, request = (each for each in read_warmup(version_dir) if each.model_spec.signature_name == "serving_default")
    columns = {name: decode_bytes(tf.make_ndarray(tensor).tolist()) for name, tensor in sorted(request.inputs.items())}
    items = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    # With padding, as servers return them.
    outputs = SavedPredictor(version_dir)([from_json(item) for item in items])
    predictions = [prediction_of(outputs, index) for index in range(len(items))]
    documents = {
        "examples/request.json": {"instances": [_without_single_name(item) for item in items]},
        "examples/expected.json": {"predictions": [_without_single_name(prediction) for prediction in predictions]},
    }
    return {name: json.dumps(content, indent=1, ensure_ascii=False) + "\n" for name, content in documents.items()}


def _without_single_name(values: dict):
    """Return the value itself if there is only one, as TensorFlow Serving does."""
    return next(iter(values.values())) if len(values) == 1 else values
