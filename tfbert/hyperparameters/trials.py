"""Records of the trials of a search: stored as one JSON file per trial, ranked, and shown in tables."""

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tfbert.evaluation.formatting import duration, number
from tfbert.evaluation.metric import Metric
from tfbert.fields import as_typed
from tfbert.files import read_json, write_json, write_text
from tfbert.training.checkpoint import remove_files

TRIALS = "trials"
TABLE = "trials.csv"
_RECORD = "trial.json"
RUNNING, FINISHED, STOPPED, FAILED = "running", "finished", "stopped early", "failed"
_MAX_CELL_LENGTH = 24


@dataclass(kw_only=True)
class Trial:
    """One trial: sampled values and the results of training with them.

    Args:
        id: Keras Tuner's id.
        values: sampled values by config path.
        state: `running`, `finished`, `stopped early` or `failed`.
        score: mean of the objective over the executions; `None` before the end and after a failure.
        scores: the objective of the kept weights of each execution; empty before the end and after a failure.
        metrics: validation scores of the kept weights, averaged over the executions.
        histories: the objective after every epoch, for each execution.
        epochs: number of epochs of an execution that is not stopped early.
        halvings: how often the batch size was halved for lack of memory.
        kills: how often a process that ran the trial was killed.
        seconds: duration of training and validation.
        notes: messages about problems.
    """

    id: str
    values: dict[str, Any]
    state: str = RUNNING
    score: float | None = None
    scores: list[float] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    histories: list[list[float]] = field(default_factory=list)
    epochs: int = 0
    halvings: int = 0
    kills: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def finish(self, executions: Sequence[dict[str, float]], objective: str, was_stopped: bool) -> None:
        """Set the results from the validation scores of every execution."""
        self.metrics = {name: statistics.mean(scores[name] for scores in executions) for name in executions[0]}
        self.scores = [scores[objective] for scores in executions]
        self.score, self.state = self.metrics[objective], STOPPED if was_stopped else FINISHED


def trial_dir(out_dir: Path, trial_id: str) -> Path:
    """Return the directory of a trial."""
    return out_dir / TRIALS / trial_id


def write_trial(out_dir: Path, trial: Trial) -> None:
    """Store a trial."""
    folder = trial_dir(out_dir, trial.id)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _RECORD, asdict(trial))


def read_trial(out_dir: Path, trial_id: str) -> Trial | None:
    """Return a stored trial, or `None` if it does not exist."""
    path = trial_dir(out_dir, trial_id) / _RECORD
    return Trial(**read_json(path)) if path.exists() else None


def read_trials(out_dir: Path) -> list[Trial]:
    """Return all stored trials in order."""
    return [Trial(**read_json(path)) for path in sorted((out_dir / TRIALS).glob(f"*/{_RECORD}"))]


def ranked(trials: Sequence[Trial], higher_is_better: bool) -> list[Trial]:
    """Return the trials with a score, best first; of trials with equal values only the best one."""
    scored = [trial for trial in trials if trial.score is not None]
    by_values: dict[str, Trial] = {}
    for trial in sorted(scored, key=lambda trial: -trial.score if higher_is_better else trial.score):
        by_values.setdefault(repr(sorted(trial.values.items())), trial)
    return list(by_values.values())


def remove_weights(out_dir: Path, trials: Sequence[Trial], num_kept: int, higher_is_better: bool) -> None:
    """Remove the weights of all ended trials except those of the best execution of the best trials."""
    best = ranked(trials, higher_is_better)[:num_kept]
    kept = {f"{trial.id}/{best_execution(trial, higher_is_better)}" for trial in best}
    for trial in trials:
        if trial.state == RUNNING:
            continue
        for folder in trial_dir(out_dir, trial.id).glob("*/"):
            if f"{trial.id}/{folder.name}" not in kept:
                remove_files(folder)


def best_execution(trial: Trial, higher_is_better: bool) -> int:
    """Return the index of the execution of a finished trial whose kept weights have the best score."""
    return trial.scores.index((max if higher_is_better else min)(trial.scores))


def write_csv(out_dir: Path, trials: Sequence[Trial], paths: Sequence[str]) -> None:
    """Write `trials.csv`: one row per trial with its values and all its scores."""
    metrics = list(dict.fromkeys(name for trial in trials for name in trial.metrics))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["trial", "state", "score", *paths, *(f"validation_{name}" for name in metrics), "seconds", "notes"])
    for trial in trials:
        values = [as_typed(trial.values[path]) if path in trial.values else "" for path in paths]
        scores = [trial.metrics.get(name, "") for name in metrics]
        score = "" if trial.score is None else trial.score
        row = [trial.id, trial.state, score, *values, *scores, f"{trial.seconds:.1f}", "; ".join(trial.notes)]
        table.writerow(row)
    write_text(out_dir / TABLE, text.getvalue())


class Table:
    """The table of trials in the terminal, one line per trial.

    Args:
        paths: config paths of the space.
        metric: the objective.
    """

    def __init__(self, paths: Sequence[str], metric: Metric):
        self.paths, self.metric = paths, metric
        self.columns = ["trial", metric.title, "best", *(path.rpartition(".")[2] for path in paths), "took", "left"]
        self.widths = [max(8, min(len(column), _MAX_CELL_LENGTH)) for column in self.columns]

    def header(self) -> str:
        """Return the line of column names."""
        return self._line(self.columns)

    def row(self, trial: Trial, best: float | None, left: float | None) -> str:
        """Return the line of a trial that has ended.

        Args:
            trial: the trial.
            best: best score so far; `None` without a score.
            left: estimated seconds until the end of all trials; `None` if unknown.
        """
        score = trial.state if trial.score is None else self.metric.format(trial.score)
        cells = [trial.id, score, self.metric.format(best)]
        cells += [_cell(trial.values[path]) if path in trial.values else "–" for path in self.paths]
        cells += [duration(trial.seconds), "–" if left is None else duration(left)]
        return self._line(cells) + (f"  {trial.state}" if trial.state == STOPPED else "")

    def _line(self, cells: Sequence[str]) -> str:
        return "  ".join(cell[:_MAX_CELL_LENGTH].rjust(width) for cell, width in zip(cells, self.widths, strict=True))


def _cell(value: Any) -> str:
    return number(value) if isinstance(value, float) else as_typed(value)
