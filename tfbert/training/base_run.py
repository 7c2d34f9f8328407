"""The steps that all runs share: directory, config, TensorBoard log, report, report page and worker processes."""

import abc
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from tfbert.config import RootConfig
from tfbert.evaluation.tensorboard_log import TensorBoardLog, final_scores
from tfbert.files import CONFIG, REPORT, read_json, write_json
from tfbert.training.base_problem import BaseProblem
from tfbert.training.checkpoint import CHECKPOINT
from tfbert.training.distribution import Replicas
from tfbert.training.progress import Progress
from tfbert.training.run_dir import opened, versions
from tfbert.training.trackers import Tracker, open_tracker

PAGE = "report.html"


AnyProblem = TypeVar("AnyProblem", bound=BaseProblem)


class BaseRun(abc.ABC, Generic[AnyProblem]):
    """One training and its directory.

    Args:
        problem: prepared.
        config: stored in the directory; it repeats the run. `None` means the config of the problem.

    Attributes:
        logged_sections: sections of the config that TensorBoard shows as hyperparameters.
        report_stage: key of the stage after training in the `seconds` of the report.
        evaluated_split: name of the split that is evaluated during training, for trackers.
    """

    logged_sections: Sequence[str]
    report_stage: str
    evaluated_split: str = "validation"

    def __init__(self, problem: AnyProblem, config: RootConfig | None = None):
        self.problem, self.config = problem, config or problem.config

    @abc.abstractmethod
    def train(self, run_dir: Path, log: TensorBoardLog, tracker: Tracker) -> Progress:
        """Train, or resume the training in a directory, and log and track every evaluation."""

    @abc.abstractmethod
    def report(self, progress: Progress, run_dir: Path) -> dict:
        """Evaluate and save the trained model.

        Returns:
            The part of `report.json` that `carry_out` does not add, with the `seconds` of the stages so far.
        """

    @abc.abstractmethod
    def render(self, report: dict, run_dir: Path) -> None:
        """Write the report page."""

    def final_scores(self, report: dict) -> dict:
        """Return the report whose scores TensorBoard compares, in the form of `report.json`."""
        return report

    def carry_out(self, run_dir: Path, command: str) -> dict:
        """Train, evaluate and report.

        Args:
            run_dir: an existing directory.
            command: the command that repeats the run.

        Returns:
            The content of `report.json`, which is written last.
        """
        write_json(run_dir / CONFIG, self.config.to_dict())
        with open_tracker(self.config, run_dir, self.evaluated_split) as tracker:
            return self._carry_out(run_dir, command, tracker)

    def _carry_out(self, run_dir: Path, command: str, tracker: Tracker) -> dict:
        log = TensorBoardLog.of_config(run_dir / "tensorboard", self.config, self.logged_sections)
        progress = self.train(run_dir, log, tracker)
        started = time.monotonic()
        report = {
            "encoder": {"name": self.config.encoder.name, **self.problem.encoder.spec.to_json()},
            "seed": self.config.train.seed,
            "config": self.config.to_dict(),
            "versions": versions(),
            "distribution": self.problem.replicas.to_dict(),
            "command": command,
            "run": run_dir.resolve().name,
            **self.report(progress, run_dir),
        }
        report["seconds"][self.report_stage] = time.monotonic() - started
        report["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.render(report, run_dir)
        scores = final_scores(self.final_scores(report))
        log.close(scores, progress.update)
        write_json(run_dir / REPORT, report)
        tracker.finish(scores, [run_dir / name for name in (REPORT, PAGE, CONFIG)], progress)
        (run_dir / CHECKPOINT).unlink()
        return report


def track_report(config: RootConfig, run_dir: Path, report: Mapping[str, Any]) -> None:
    """Send the report of a run that consists of several trainings to its tracker."""
    with open_tracker(config, run_dir) as tracker:
        tracker.finish(final_scores(report), [run_dir / name for name in (REPORT, PAGE)])


def execute(
    run_dir: Path,
    replicas: Replicas,
    work: Callable[[], dict],
    fingerprint: str = "",
    exports: bool = False,
    command: str = "",
) -> dict:
    """Do the work of a run while holding the lock of its directory, together with the processes that `assist`.

    Args:
        run_dir: created if missing.
        replicas: devices that train together.
        work: writes and returns the report; not called if the run is finished and only its export is pending.
        fingerprint: as for `opened`.
        exports: as for `opened`.
        command: as for `opened`.

    Raises:
        ValueError: another process holds the directory, or it holds another finished run.
        ConnectionError: another process of the training was lost.
        Stopped: a signal stopped the process; the message says what was saved.
    """
    with opened(run_dir, fingerprint, exports, command):
        is_finished = replicas.broadcast_decision((run_dir / REPORT).exists())
        report = read_json(run_dir / REPORT) if is_finished else work()
        replicas.barrier()
        return report


def assist(replicas: Replicas, work: Callable[[], None]) -> None:
    """Do the part of a worker in a run of the chief, without writing files.

    Args:
        replicas: devices that train together.
        work: takes part in all trainings of the run.

    Raises:
        ConnectionError: another process was lost.
        Stopped: a signal stopped this process or another one.
    """
    if not replicas.broadcast_decision(False):
        work()
    replicas.barrier()
