"""The steps that every run has: its directory, config, TensorBoard log, report and page, and its worker processes."""

import abc
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tfbert.config import RootConfig
from tfbert.encoder.backbone import Encoder
from tfbert.evaluation.board import Board
from tfbert.files import read_json, write_json
from tfbert.training.checkpoint import CHECKPOINT
from tfbert.training.distribution import Replicas
from tfbert.training.progress import Progress
from tfbert.training.run_dir import REPORT, opened, versions

CONFIG, PAGE = "config.json", "report.html"


class Run(abc.ABC):
    """One training with a directory of its own.

    Attributes:
        config: stored in the directory, from which it repeats the run.
        encoder: that training starts from.
        replicas: devices that train together.
        board_sections: sections of the config that TensorBoard shows as hyperparameters.
        report_stage: name of the stage after training among the seconds of the report.
    """

    config: RootConfig
    encoder: Encoder
    replicas: Replicas
    board_sections: Sequence[str]
    report_stage: str

    @abc.abstractmethod
    def train(self, run_dir: Path, board: Board) -> Progress:
        """Train, or resume the training in a directory, and write every evaluation to the log and the board."""

    @abc.abstractmethod
    def report(self, progress: Progress, run_dir: Path) -> dict:
        """Evaluate and save what `train` has trained.

        Returns:
            What `report.json` holds beyond `carry_out`'s own keys, with the `seconds` of the stages so far.
        """

    @abc.abstractmethod
    def render(self, report: dict, run_dir: Path) -> None:
        """Write the page of the report."""

    def final_scores(self, report: dict) -> dict:
        """Return the scores that TensorBoard compares runs by, as `Board.final` reads them."""
        return report

    def carry_out(self, run_dir: Path, command: str) -> dict:
        """Train, evaluate and report.

        Args:
            run_dir: exists.
            command: repeats the run.

        Returns:
            What `report.json` holds; it is written last.
        """
        write_json(run_dir / CONFIG, self.config.to_dict())
        board = Board.of_config(run_dir / "tensorboard", self.config, self.board_sections)
        progress = self.train(run_dir, board)
        started = time.monotonic()
        report = {
            "encoder": {"name": self.config.encoder.name, **self.encoder.spec.to_json()},
            "seed": self.config.train.seed,
            "config": self.config.to_dict(),
            "versions": versions(),
            "distribution": self.replicas.to_dict(),
            "command": command,
            **self.report(progress, run_dir),
        }
        report["seconds"][self.report_stage] = time.monotonic() - started
        report["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.render(report, run_dir)
        board.final(self.final_scores(report), progress.update)
        write_json(run_dir / REPORT, report)
        (run_dir / CHECKPOINT).unlink()
        return report


def execute(
    run_dir: Path, replicas: Replicas, work: Callable[[], dict], fingerprint: str = "", exports: bool = False
) -> dict:
    """Do the work of a run while holding its directory, together with the processes that `assist` in it.

    Args:
        run_dir: created if missing.
        replicas: devices that train together.
        work: returns the report, which it has written; not called if the run is finished and only awaits its export.
        fingerprint: as for `opened`.
        exports: as for `opened`.

    Raises:
        ValueError: another process holds the directory, or it holds another finished run.
        ConnectionError: another process of the training is gone.
        Stopped: a signal stopped the process; the message says what was saved.
    """
    with opened(run_dir, fingerprint, exports):
        is_finished = replicas.broadcast_decision((run_dir / REPORT).exists())
        report = read_json(run_dir / REPORT) if is_finished else work()
        replicas.barrier()
        return report


def assist(replicas: Replicas, work: Callable[[], None]) -> None:
    """Do the part of a worker in a run that the chief executes; writes nothing.

    Args:
        replicas: devices that train together.
        work: takes part in all trainings of the run.

    Raises:
        ConnectionError: another process is gone.
        Stopped: a signal stopped this process or another one.
    """
    if not replicas.broadcast_decision(False):
        work()
    replicas.barrier()
