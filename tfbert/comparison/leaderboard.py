"""Leaderboard: the runs in a directory by the data they were tested on, best first, and those that can be resumed."""

import itertools
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfbert.evaluation.formatting import duration, size
from tfbert.fields import differing_values
from tfbert.files import BEST_RUN, REPORT, STARTED, UNEXPORTED, acquire_lock, naming, read_json
from tfbert.models.run_report import (
    PretrainingReport,
    RunReport,
    SplitData,
    is_pretraining,
    is_search,
    num_trials,
    read_run_report,
    sum_seconds,
)
from tfbert.models.weights import BEST

# Not listed among the settings that differ: what is the same or listed anyway, and seeds.
_IGNORED_SETTINGS = ("data.path", "encoder.name", "train.seed")
_HASH_CHARACTERS = 12


@dataclass(frozen=True, kw_only=True)
class RunTable:
    """A table of runs.

    Args:
        title: what the runs have in common.
        columns: the headings.
        rows: the cells of each run, one per column.
        num_settings: the number of columns at the end that are config fields.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    num_settings: int = 0


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A finished run of a task, or the best run of a search.

    Args:
        path: the directory of the run or of the search.
        report: the report of the run.
        num_trials: the number of trials of a search; `None` for a run.
        seconds: duration of the run, of its best seed if there are several, or of the search.
        num_bytes: the size of the weights.
        finished: when the run ended, in seconds since the epoch.
    """

    path: Path
    report: RunReport
    num_trials: int | None
    seconds: float
    num_bytes: int | None
    finished: float

    @property
    def data(self) -> SplitData | None:
        """The data that the run was scored on; `None` if there is neither a test nor a validation split."""
        score = self.report.score
        return self.report.data[score.split] if score else None

    @property
    def group(self) -> tuple:
        """What is equal for runs whose scores can be compared."""
        score, data = self.report.score, self.data
        return self.report.task, *((score.split, data.sha256, data.note, score.metric.name) if score else ())

    def to_json(self) -> dict[str, Any]:
        """Return the run, ready for JSON."""
        return {
            "kind": "run" if self.num_trials is None else "search",
            "path": str(self.path),
            "task": self.report.task,
            **self.report.score_json(),
            "num_trials": self.num_trials,
            "config": self.report.config,
            "seconds": self.seconds,
            "num_bytes": self.num_bytes,
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.finished)),
        }


@dataclass(frozen=True, kw_only=True)
class PretrainingRun:
    """A finished pretraining.

    Args:
        path: the directory of the run.
        report: its report.
    """

    path: Path
    report: PretrainingReport

    def to_json(self) -> dict[str, Any]:
        """Return the run, ready for JSON."""
        return {
            "kind": "pretraining",
            "path": str(self.path),
            "encoder": self.report.encoder,
            "masked_word_loss_before": self.report.before,
            "masked_word_loss_after": self.report.after,
            "seconds": self.report.seconds,
        }


@dataclass(frozen=True, kw_only=True)
class UnfinishedRun:
    """A run, search or pretraining that is running, was stopped, or has not been exported.

    Args:
        path: its directory.
        state: `running`, `stopped` or `not exported`.
        changed: when a file of it was last written, in seconds since the epoch.
        command: the command that resumes it; empty if it was not started by a command.
    """

    path: Path
    state: str
    changed: float
    command: str

    def to_json(self) -> dict[str, Any]:
        """Return the run, ready for JSON."""
        changed = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.changed))
        return {
            "kind": "unfinished",
            "path": str(self.path),
            "state": self.state,
            "changed": changed,
            "command": self.command,
        }


@dataclass(frozen=True)
class Runs:
    """The runs in a directory.

    Args:
        finished: the finished runs and searches, those that can be compared together and best first.
        pretrained: the finished pretrainings.
        unfinished: the others.
        unreadable: a message for each run whose files cannot be read.
    """

    finished: list[FinishedRun] = field(default_factory=list)
    pretrained: list[PretrainingRun] = field(default_factory=list)
    unfinished: list[UnfinishedRun] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def to_json(self) -> list[dict[str, Any]]:
        """Return an object for each run, ready for JSON."""
        unreadable = [{"kind": "unreadable", "message": message} for message in self.unreadable]
        return [run.to_json() for run in (*self.finished, *self.pretrained, *self.unfinished)] + unreadable

    def tables(self) -> Iterator[RunTable]:
        """Yield a table per task, test data and metric, and one of pretrainings."""
        for _, group in itertools.groupby(self.finished, key=lambda run: run.group):
            yield _table(list(group))
        if self.pretrained:
            columns = ["run", "encoder", "loss before", "after", "time"]
            rows = []
            for run in self.pretrained:
                before, after = f"{run.report.before:.3f}", f"{run.report.after:.3f}"
                rows.append([str(run.path), run.report.encoder or "new", before, after, duration(run.report.seconds)])
            yield RunTable(title="pretraining: loss of masked words of held-out text", columns=columns, rows=rows)


def find_runs(runs_dir: Path) -> Runs:
    """Return all runs in a directory and its subdirectories.

    Raises:
        ValueError: the directory does not exist, or contains no runs.
    """
    if not runs_dir.is_dir():
        raise ValueError(f"{runs_dir}: no such directory; expected the directory of the runs, given by --runs")
    runs = Runs()
    for path in _run_dirs(runs_dir):
        try:
            _add(runs, path)
        except FileNotFoundError:  # the run was removed meanwhile
            continue
        except ValueError as error:
            runs.unreadable.append(str(error))
    if runs == Runs():
        raise ValueError(f"{runs_dir}: contains no runs; expected the directory of the runs, given by --runs")
    runs.finished.sort(key=_order)
    return runs


def _order(run: FinishedRun) -> tuple:
    score = run.report.score
    return run.group, -score.metric.sign * score.value if score else 0.0


def _run_dirs(folder: Path) -> Iterator[Path]:
    """Yield the directories of runs; those inside another one, such as the seeds of a run, are parts of it."""
    for parent, names, files in os.walk(folder):
        if {REPORT, STARTED, UNEXPORTED}.intersection(files):
            yield Path(parent)
            names.clear()
        names[:] = sorted(name for name in names if not name.startswith("."))


def _add(runs: Runs, path: Path) -> None:
    is_finished = (path / REPORT).exists()
    # Before `unfinished`: a run with a damaged report is only listed as unreadable.
    if is_finished:
        report = read_json(path / REPORT)
        if is_pretraining(report):
            with naming(path / REPORT):
                runs.pretrained.append(PretrainingRun(path=path, report=PretrainingReport.from_json(report)))
        else:
            runs.finished.append(_finished(path, report))
    if not is_finished or (path / UNEXPORTED).exists():
        runs.unfinished.append(_unfinished(path))


def _finished(path: Path, content: Mapping[str, Any]) -> FinishedRun:
    """Return the run or the search in a directory.

    Args:
        path: the directory.
        content: the content of its `report.json`.
    """
    run_dir, trials = path, None
    if is_search(content):
        run_dir = path / BEST_RUN
        with naming(path / REPORT):
            trials, search_seconds = num_trials(content), sum_seconds(content)
    report = read_run_report(run_dir)
    sizes = [weights.stat().st_size for weights in run_dir.rglob(BEST)]
    return FinishedRun(
        path=path,
        report=report,
        num_trials=trials,
        seconds=report.seconds if trials is None else search_seconds,
        num_bytes=max(sizes, default=None),
        finished=(path / REPORT).stat().st_mtime,
    )


def _unfinished(path: Path) -> UnfinishedRun:
    stored = next((path / name for name in (STARTED, REPORT) if (path / name).exists()), None)
    command = read_json(stored).get("command", "") if stored else ""
    if not isinstance(command, str):
        raise ValueError(f"{stored}: command={command!r}: expected text")
    changed = max([path.stat().st_mtime, *_file_times(path)])
    state = "running" if _is_locked(path) else "not exported" if (path / REPORT).exists() else "stopped"
    return UnfinishedRun(path=path, state=state, changed=changed, command=command)


def _file_times(folder: Path) -> Iterator[float]:
    """Yield the time of the last write to each file, except files that a running training removes meanwhile."""
    for parent, _, files in os.walk(folder):
        for name in files:
            with suppress(FileNotFoundError):
                yield os.stat(os.path.join(parent, name)).st_mtime


def _is_locked(path: Path) -> bool:
    """Return whether a process works in the directory of a run."""
    lock = path / ".lock"
    if not lock.exists():
        return False
    try:
        acquire_lock(lock).close()
    except BlockingIOError:
        return True
    except OSError:  # the directory is read-only, or the file system has no locks
        return False
    return False


def _table(group: Sequence[FinishedRun]) -> RunTable:
    """Return the table of runs that can be compared, with a column for each setting that differs."""
    first, folder = group[0].report, Path(os.path.commonpath([run.path.parent for run in group]))
    title, data = f"{first.task}: no scores, for lack of a test and a validation split", group[0].data
    if data:
        note = f"{data.note}; " if data.note else ""
        title = (
            f"{first.task}: {first.score.metric.title} on {data.num_examples:,} {first.score.split} records of "
            f"{data.path} ({note}SHA-256 {data.sha256[:_HASH_CHARACTERS]})"
        )
    differing = differing_values([run.report.config for run in group])
    settings = {path: values for path, values in differing if path not in _IGNORED_SETTINGS}
    rows = [
        [
            str(run.path.relative_to(folder)),
            *_score_cells(run),
            duration(run.seconds),
            size(run.num_bytes) if run.num_bytes else "–",
            run.report.encoder,
            *(values[index] for values in settings.values()),
        ]
        for index, run in enumerate(group)
    ]
    score = first.score.metric.title if first.score else "score"
    columns = [f"{folder}/", score, "95% interval", "seeds", "time", "weights", "encoder", *_short_names(settings)]
    return RunTable(title=title, columns=columns, rows=rows, num_settings=len(settings))


def _short_names(paths: Iterable[str]) -> list[str]:
    """Return the names of config fields, with their section only where two have the same name."""
    names = [(path, path.rpartition(".")[2]) for path in paths]
    counts = Counter(name for _, name in names)
    return [path if counts[name] > 1 else name for path, name in names]


def _score_cells(run: FinishedRun) -> list[str]:
    """Return the score, its interval, and the seeds with the spread of their scores."""
    score, count = run.report.score, run.report.trainings.count
    cells, seeds = ["–", "–"], str(count)
    if score:
        interval = score.metric.format_interval(score.low, score.high, with_unit=False)
        cells = [score.metric.format(score.value), interval]
        if score.mean is not None:
            seeds = f"{count}: {score.metric.format_spread(score.mean, score.std, with_unit=False)}"
    return [*cells, seeds if run.num_trials is None else f"search of {run.num_trials} trials"]
