"""An exported version of a model in, the files that deploy it on stock TensorFlow Serving out."""

import json
import math
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

import jinja2
import tensorflow as tf

from tfbert.files import read_json, writing
from tfbert.serving.publish import decoded
from tfbert.serving.saved_predictor import SavedPredictor
from tfbert.serving.warmup import read_warmup
from tfbert.tasks.base import fitted_from_json
from tfbert.tasks.base_outputs import Outputs
from tfbert.text.inputs import from_json

# Releases that the files were written for, each by the exact tag of its image.
RELEASES = {
    "serving_release": "2.20.0",
    "envoy_release": "v1.38.0",
    "prometheus_release": "v3.5.0",
    "grafana_release": "12.2.0",
    "python_release": "3.13.14",
}

_GIB = 2**30
# The user of Envoy's own image, who runs the proxy where root renders.
_ENVOY_USER = 101


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What a person may want otherwise.

    Args:
        cores: of one server; whole ones, as many as operations run at once.
        requests_per_second: that one client may send to one proxy.
        body_bytes: of a request at most.
        sampled_fraction: of the answers over REST that drift is told from.
        latency_limit: of 99 in 100 answers, in microseconds; an edge of TensorFlow Serving's histogram is exact.
    """

    cores: int = 4
    requests_per_second: int = 100
    body_bytes: int = 4 * 2**20
    sampled_fraction: float = 0.05
    latency_limit: int = 393464


def check(name: str, out_dir: Path, deployment: Deployment) -> None:
    """Refuse what cannot be rendered, before a model is exported for it.

    Args:
        name: of the model.
        out_dir: that the files would be written to.
        deployment: as in `render`.

    Raises:
        ValueError: a name that cannot stand in all the files, a directory that holds something, or no core.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", name):
        raise ValueError(f"model name '{name}': wanted at most 40 of A-Z, a-z, 0-9, '.', '_' and '-'; see --name")
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise ValueError(f"{out_dir}: is not empty; wanted a new directory, as yours may hold keys and changes")
    if deployment.cores < 1:
        raise ValueError(f"--cores {deployment.cores}: wanted 1 or more")


def render(version_dir: Path, templates_dir: Path, out_dir: Path, deployment: Deployment | None = None) -> list[Path]:
    """Write the files that deploy one version of a model.

    Args:
        version_dir: of the export, `saved_models/NAME/VERSION`.
        templates_dir: whose files are rendered, each to the same place below `out_dir`.
        out_dir: made if missing.
        deployment: what differs from the defaults.

    Returns:
        What was written, in order. Files with a key or a password can be read by the user who renders alone.

    Raises:
        ValueError: what `check` refuses, or a directory of a version that is no number.
    """
    deployment = deployment or Deployment()
    check(version_dir.resolve().parent.name, out_dir, deployment)
    if not version_dir.name.isdecimal():
        raise ValueError(f"{version_dir}: is no version; wanted saved_models/NAME/VERSION")
    values = _values(version_dir, deployment)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        # Grafana, Prometheus and KServe have braces of their own.
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    # All or nothing: a template that fails leaves no half of a deployment behind.
    texts = {name: environment.get_template(name).render(values) for name in sorted(environment.list_templates())}
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
        if (templates_dir / name).exists():
            path.chmod((templates_dir / name).stat().st_mode & 0o777)
    return [out_dir / name for name in texts]


def _write_secret(path: Path, text: str) -> None:
    """Write a new file that is nobody else's to read at any time, whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)


def _watched(outputs: Outputs) -> str:
    """Return the output whose mean tells of drift: how sure the model is, else the number that it answers."""
    by_role = {output.role: output.name for output in reversed(outputs)}
    return by_role.get("confidence", by_role["answer"])


def _values(version_dir: Path, wanted: Deployment) -> dict:
    """Return what the templates are rendered with."""
    version_dir = version_dir.resolve()
    name = version_dir.parent.name
    task = fitted_from_json(read_json(version_dir / "assets" / "task.json"))
    abstaining = next((output for output in task.outputs if output.role == "abstain"), None)
    return {
        **RELEASES,
        **vars(wanted),
        "name": name,
        "name_in_regex": name.replace(".", "[.]"),
        # A name that Kubernetes, compose and DNS take.
        "service": re.sub("[^a-z0-9]+", "-", name.lower()).strip("-"),
        "version": int(version_dir.name),
        "model_dir": str(version_dir.parent),
        "title": task.definition.title,
        "input_names": list(next(read_warmup(version_dir)).inputs),
        "memory_gib": _memory_gib(version_dir),
        "execution_batch": 32,
        "score": _watched(task.outputs),
        "has_labels": any(output.is_label for output in task.outputs),
        # `None`: the model always has an answer.
        "nothing": (abstaining.name, json.dumps(abstaining.abstain_value)) if abstaining else None,
        "thread_flags": _thread_flags(wanted.cores),
        "server_flags": _server_flags(wanted.cores),
        "requests_per_server": 10 * wanted.cores,
        # Whoever renders may read the keys, so the proxy of compose runs as that user, but never as root.
        "is_root": os.getuid() == 0,
        "proxy_uid": os.getuid() or _ENVOY_USER,
        "proxy_gid": os.getgid() or _ENVOY_USER,
        "key": secrets.token_urlsafe(24),
        "password": secrets.token_urlsafe(12),
    }


def _thread_flags(cores: int) -> list[str]:
    # By itself the server counts the cores of the node, not those it may use. A core for each request, not all of them
    # for one: the products of a small encoder are too short for a second thread to pay for its waking.
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
        # Connections end now and then, so that calls find new servers.
        "--grpc_channel_arguments=grpc.max_connection_age_ms=60000,grpc.max_connection_age_grace_ms=30000",
    ]


def _memory_gib(version_dir: Path) -> int:
    """Return a limit for one server, in GiB: two versions while one is exchanged, TensorFlow, and batches."""
    size = sum(path.stat().st_size for path in version_dir.rglob("*") if path.is_file())
    return math.ceil((4 * size + 1.5 * _GIB) / _GIB)


def _examples(version_dir: Path) -> dict[str, str]:
    """Return by file real questions and the model's answers to them, as REST asks and answers in rows."""
    *_, request = read_warmup(version_dir)
    columns = {name: decoded(tf.make_ndarray(tensor).tolist()) for name, tensor in sorted(request.inputs.items())}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    answers = [answer for _, answer in SavedPredictor(version_dir).answers(map(from_json, rows))]
    documents = {
        "examples/request.json": {"instances": [_bare(row) for row in rows]},
        "examples/expected.json": {"predictions": [_bare(answer) for answer in answers]},
    }
    return {name: json.dumps(said, indent=1, ensure_ascii=False) + "\n" for name, said in documents.items()}


def _bare(row: dict):
    """Return the value alone of what has one name only, as TensorFlow Serving writes it."""
    return next(iter(row.values())) if len(row) == 1 else row
