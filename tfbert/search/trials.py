"""What is known of each trial: one JSON file a trial in, tables, ranks and free disk space out."""

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tfbert.evaluation.formatting import duration, number, setting
from tfbert.files import read_json, write_json, write_text
from tfbert.training.checkpoint import BEST, CHECKPOINT

TRIALS = "trials"
TABLE = "trials.csv"
_RECORD = "trial.json"
RUNNING, FINISHED, STOPPED, FAILED = "running", "finished", "stopped early", "failed"
_LONGEST_CELL = 24


@dataclass(kw_only=True)
class Trial:
    """One set of values and what came of it.

    Args:
        id: of Keras Tuner.
        values: config paths to what was drawn.
        state: `running`, `finished`, `stopped early` or `failed`.
        score: mean of the objective over the executions; `None` before the end and after a failure.
        metrics: of validation at the best epoch, averaged likewise.
        histories: of each execution, the objective after every epoch.
        epochs: that an execution would have without being stopped.
        halvings: how often the batch was halved, as memory did not suffice.
        kills: how often the process that ran it was killed.
        seconds: of training and validation, together.
        notes: what is odd about it.
    """

    id: str
    values: dict[str, Any]
    state: str = RUNNING
    score: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    histories: list[list[float]] = field(default_factory=list)
    epochs: int = 0
    halvings: int = 0
    kills: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def finish(self, executions: Sequence[dict[str, float]], objective: str, was_stopped: bool) -> None:
        """Take the validation metrics of every execution, and be finished."""
        self.metrics = {name: statistics.mean(scores[name] for scores in executions) for name in executions[0]}
        self.score, self.state = self.metrics[objective], STOPPED if was_stopped else FINISHED


def trial_dir(out_dir: Path, trial_id: str) -> Path:
    """Return where a trial's files are."""
    return out_dir / TRIALS / trial_id


def write_trial(out_dir: Path, trial: Trial) -> None:
    """Keep what is known of a trial."""
    folder = trial_dir(out_dir, trial.id)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _RECORD, asdict(trial))


def read_trial(out_dir: Path, trial_id: str) -> Trial | None:
    """Return what is known of a trial, or `None` if it never began."""
    path = trial_dir(out_dir, trial_id) / _RECORD
    return Trial(**read_json(path)) if path.exists() else None


def read_trials(out_dir: Path) -> list[Trial]:
    """Return all trials that began, in their order."""
    return [Trial(**read_json(path)) for path in sorted((out_dir / TRIALS).glob(f"*/{_RECORD}"))]


def ranked(trials: Sequence[Trial], is_gain: bool) -> list[Trial]:
    """Return the trials that have a score, best first; of equals the earlier, and those with other values only once."""
    scored = [trial for trial in trials if trial.score is not None]
    by_values: dict[str, Trial] = {}
    for trial in sorted(scored, key=lambda trial: -trial.score if is_gain else trial.score):
        by_values.setdefault(repr(sorted(trial.values.items())), trial)
    return list(by_values.values())


def free_weights(out_dir: Path, trials: Sequence[Trial], kept: int, is_gain: bool) -> None:
    """Remove the weights of all ended trials but the best, and of those all but the best execution's."""
    spared = {
        f"{trial.id}/{best_execution(trial, is_gain)}" for trial in ranked(trials, is_gain)[:kept] if trial.histories
    }
    for trial in trials:
        if trial.state == RUNNING:
            continue
        for folder in trial_dir(out_dir, trial.id).glob("*/"):
            if f"{trial.id}/{folder.name}" not in spared:
                for name in (BEST, CHECKPOINT):
                    (folder / name).unlink(missing_ok=True)


def best_execution(trial: Trial, is_gain: bool) -> int:
    """Return the number of a finished trial's best execution."""
    best = [max(history) if is_gain else -min(history) for history in trial.histories]
    return best.index(max(best))


def write_csv(out_dir: Path, trials: Sequence[Trial], paths: Sequence[str]) -> None:
    """Write `trials.csv`: a row a trial with its values and all its metrics."""
    metrics = list(dict.fromkeys(name for trial in trials for name in trial.metrics))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["trial", "state", "score", *paths, *(f"validation_{name}" for name in metrics), "seconds", "notes"])
    for trial in trials:
        values = [setting(trial.values[path]) if path in trial.values else "" for path in paths]
        scores = [trial.metrics.get(name, "") for name in metrics]
        score = "" if trial.score is None else trial.score
        row = [trial.id, trial.state, score, *values, *scores, f"{trial.seconds:.1f}", "; ".join(trial.notes)]
        table.writerow(row)
    write_text(out_dir / TABLE, text.getvalue())


class Table:
    """The table of trials that grows in the terminal, a line a trial.

    Args:
        paths: of the space.
        objective: name of the metric.
    """

    def __init__(self, paths: Sequence[str], objective: str):
        self.paths = paths
        self.heads = ["trial", objective, "best", *(path.rpartition(".")[2] for path in paths), "took", "left"]
        self.widths = [max(8, min(len(head), _LONGEST_CELL)) for head in self.heads]

    def head(self) -> str:
        """Return the line of names."""
        return self._line(self.heads)

    def row(self, trial: Trial, best: float | None, left: float | None) -> str:
        """Return the line of a trial that has ended.

        Args:
            trial: that has.
            best: score so far.
            left: seconds to the end of all trials, as far as one can tell.
        """
        score = trial.state if trial.score is None else f"{trial.score:.4f}"
        cells = [trial.id, score, "–" if best is None else f"{best:.4f}"]
        cells += [_cell(trial.values[path]) if path in trial.values else "–" for path in self.paths]
        cells += [duration(trial.seconds), "–" if left is None else duration(left)]
        return self._line(cells) + (f"  {trial.state}" if trial.state == STOPPED else "")

    def _line(self, cells: Sequence[str]) -> str:
        return "  ".join(cell[:_LONGEST_CELL].rjust(width) for cell, width in zip(cells, self.widths, strict=True))


def _cell(value: Any) -> str:
    return number(value) if isinstance(value, float) else setting(value)
