"""Runs at Weights & Biases and MLflow, through the core API of their packages."""

import json
import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

from tfbert.files import read_json, write_json

logger = logging.getLogger(__name__)

# Holds the id of a tracked run, so that a resumed training continues it.
TRACKER = "tracker.json"
_PROJECT = "tfbert"

Steps = Sequence[tuple[int, Mapping[str, float]]]


class Backend(Protocol):
    """One run at a tracker.

    Attributes:
        next_step: the first step that the tracker does not have yet.
    """

    next_step: int

    def log(self, steps: Steps) -> None:
        """Store the metrics of steps, in ascending order; the last one always ends with an evaluation."""

    def finish(self, scores: Mapping[str, float], files: Sequence[Path], step: int) -> None:
        """Store final scores and files."""

    def close(self, status: Literal["finished", "failed"]) -> None:
        """End the run; it can be continued later."""


def _name(run_dir: Path, groups: Sequence[Path]) -> str:
    """Return the name of a run: that of its directory, as seen from the run that contains it."""
    return run_dir.relative_to(groups[0]).as_posix() if groups else run_dir.name


def _stored_id(run_dir: Path) -> str | None:
    return read_json(run_dir / TRACKER)["run_id"] if (run_dir / TRACKER).exists() else None


class WandbRun:
    """A run at Weights & Biases: offline, in the directory `wandb` of the outermost run, unless WANDB_MODE is set.

    A process that continues an offline run writes another file with the same id and all steps.

    Args:
        params: config paths to values.
        run_dir: directory of the run.
        groups: directories of the runs that contain it, innermost first.
    """

    def __init__(self, params: Mapping[str, Any], run_dir: Path, groups: Sequence[Path]):
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        run_id = _stored_id(run_dir)
        if run_id is None:
            run_id = uuid.uuid4().hex[:8]
            write_json(run_dir / TRACKER, {"run_id": run_id})
        self._run = wandb.init(
            mode=os.environ.get("WANDB_MODE", "offline"),
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            dir=os.environ.get("WANDB_DIR", str([run_dir, *groups][-1])),
            id=run_id,
            name=_name(run_dir, groups),
            group=groups[0].name if groups else run_dir.name,
            config=dict(params),
            resume="allow",
            reinit="create_new",
            # It would replace standard output, and with it the progress bars.
            settings=wandb.Settings(console="off", silent=True),
        )
        self._wandb = wandb
        # 0 offline, where the present steps are in another file.
        self.next_step = self._run.starting_step
        if not groups:
            logger.info("tracked by W&B: %s", Path(self._run.dir).parent if self._run.offline else self._run.url)

    def log(self, steps: Steps) -> None:
        """Store the metrics of steps."""
        for step, values in steps:
            self._run.log(dict(values), step=step)

    def finish(self, scores: Mapping[str, float], files: Sequence[Path], step: int) -> None:
        """Store final scores in the summary, and files as an artifact."""
        self._run.summary.update(dict(scores))
        artifact = self._wandb.Artifact(f"report-{self._run.id}", type="report")
        for path in files:
            # Otherwise each file would be copied to a directory in the user's home.
            artifact.add_file(str(path), policy="immutable")
        self._run.log_artifact(artifact)

    def close(self, status: Literal["finished", "failed"]) -> None:
        """Write or upload the rest."""
        self._run.finish(exit_code=0 if status == "finished" else 1)


class MlflowRun:
    """A run at MLflow: in the directory `mlruns` of the outermost run, unless MLFLOW_TRACKING_URI is set.

    Args:
        params: config paths to values.
        run_dir: directory of the run.
        groups: directories of the runs that contain it, innermost first.
    """

    # Limits of the tracking server per request and per value.
    _MAX_METRICS, _MAX_PARAMS, _MAX_CHARACTERS = 1000, 100, 6000
    # Logged at the end of every evaluation.
    _LAST_METRIC = "epoch"

    def __init__(self, params: Mapping[str, Any], run_dir: Path, groups: Sequence[Path]):
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            uri = ([run_dir, *groups][-1] / "mlruns").as_uri()
            # The other local store needs a database, which mlflow-skinny does not have.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._metric, self._client = Metric, MlflowClient(tracking_uri=uri)
        run_id = _stored_id(run_dir)
        if run_id is None:
            run_id = self._create(run_dir, groups)
            values = ((path, value if isinstance(value, str) else json.dumps(value)) for path, value in params.items())
            stored = [Param(path, text[: self._MAX_CHARACTERS]) for path, text in values]
            for batch in _chunks(stored, self._MAX_PARAMS):
                self._client.log_batch(run_id, params=batch)
            # Last, because a run without config must not be continued.
            write_json(run_dir / TRACKER, {"run_id": run_id})
        else:
            self._client.update_run(run_id, status="RUNNING")
        self._run_id = run_id
        history = self._client.get_metric_history(run_id, self._LAST_METRIC)
        self.next_step = max((metric.step + 1 for metric in history), default=0)
        if not groups:
            logger.info("tracked by MLflow: run %s in %s", run_id, uri)

    def _create(self, run_dir: Path, groups: Sequence[Path]) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(name)
        tags = {"mlflow.parentRunId": _stored_id(groups[0])} if groups else {}
        return self._client.create_run(experiment_id, run_name=_name(run_dir, groups), tags=tags).info.run_id

    def log(self, steps: Steps) -> None:
        """Store the metrics of steps; the last metric of an evaluation is stored last."""
        now = int(1000 * time.time())
        metrics = [self._metric(name, value, now, step) for step, values in steps for name, value in values.items()]
        metrics.sort(key=lambda metric: metric.key == self._LAST_METRIC)
        for batch in _chunks(metrics, self._MAX_METRICS):
            self._client.log_batch(self._run_id, metrics=batch)

    def finish(self, scores: Mapping[str, float], files: Sequence[Path], step: int) -> None:
        """Store final scores as metrics, and files as artifacts."""
        now = int(1000 * time.time())
        self._client.log_batch(self._run_id, metrics=[self._metric(n, value, now, step) for n, value in scores.items()])
        for path in files:
            self._client.log_artifact(self._run_id, str(path))

    def close(self, status: Literal["finished", "failed"]) -> None:
        """Set the status of the run."""
        self._client.set_terminated(self._run_id, status.upper())


def _chunks(values: list, size: int) -> Iterator[list]:
    stream = iter(values)
    while chunk := list(islice(stream, size)):
        yield chunk
