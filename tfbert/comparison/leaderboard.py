"""Leaderboard: the runs in a directory by the data they were tested on, best first, and those that can be resumed."""

import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfbert.evaluation.formatting import duration, size
from tfbert.evaluation.metric import Metric, main_metric
from tfbert.fields import differing_values
from tfbert.files import BEST_RUN, REPORT, STARTED, UNEXPORTED, acquire_lock, read_json
from tfbert.models.weights import BEST

# Not listed among the settings that differ: what is the same or listed anyway, and seeds.
_IGNORED_SETTINGS = ("data.path", "encoder.name", "train.seed")
_HASH_CHARACTERS = 12

Table = tuple[str, list[str], list[list[str]]]


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A finished run of a task, or the best run of a search.

    Args:
        path: the directory of the run or of the search.
        task: the name of the task.
        data: the split that was scored: its `split`, `path`, `sha256`, `note` and `num_examples`; `None` if there is
            neither a test nor a validation split.
        metric: the main metric.
        score: its `value`, `low` and `high`.
        seeds: the number of seeds, and for several the `mean` and `std` of the metric.
        config: the config of the run.
        num_trials: the number of trials of a search; `None` for a run.
        seconds: duration of preparation, training and evaluation; of the best seed if there are several.
        num_bytes: the size of the weights.
        finished: when the run ended, in seconds since the epoch.
    """

    path: Path
    task: str
    data: Mapping[str, Any] | None
    metric: Metric | None
    score: Mapping[str, float | None]
    seeds: Mapping[str, Any]
    config: Mapping[str, Any]
    num_trials: int | None
    seconds: float
    num_bytes: int | None
    finished: float

    @property
    def group(self) -> tuple:
        """What is equal for runs whose scores can be compared."""
        data = [self.data[key] for key in ("split", "sha256", "note")] if self.data else []
        return self.task, *data, self.metric.name if self.metric else ""

    def to_json(self) -> dict[str, Any]:
        """Return the run, ready for JSON."""
        return {
            "kind": "run" if self.num_trials is None else "search",
            "path": str(self.path),
            "task": self.task,
            "data": self.data,
            "metric": self.metric and self.metric.name,
            **self.score,
            "seeds": self.seeds,
            "num_trials": self.num_trials,
            "config": self.config,
            "seconds": self.seconds,
            "num_bytes": self.num_bytes,
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.finished)),
        }


@dataclass(frozen=True, kw_only=True)
class PretrainingRun:
    """A finished pretraining.

    Args:
        path: the directory of the run.
        encoder: the name of the encoder that it started from; `None` for a new one.
        before: the loss of masked words of held-out text before the pretraining.
        after: the same after it.
        seconds: duration of preparation, training and evaluation.
    """

    path: Path
    encoder: str | None
    before: float
    after: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the run, ready for JSON."""
        losses = {"masked_word_loss_before": self.before, "masked_word_loss_after": self.after}
        encoder = {"encoder": self.encoder}
        return {"kind": "pretraining", "path": str(self.path), **encoder, **losses, "seconds": self.seconds}


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

    def tables(self) -> Iterator[Table]:
        """Yield the title, the columns and the rows of a table per task, test data and metric, and of pretrainings."""
        for _, group in itertools.groupby(self.finished, key=lambda run: run.group):
            yield _table(list(group))
        if self.pretrained:
            columns = ["run", "encoder", "loss before", "after", "time"]
            rows = [
                [str(run.path), run.encoder or "new", f"{run.before:.3f}", f"{run.after:.3f}", duration(run.seconds)]
                for run in self.pretrained
            ]
            yield "pretraining: loss of masked words of held-out text", columns, rows


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
        except (KeyError, TypeError) as error:
            runs.unreadable.append(f"{path / REPORT}: written by another version of tfbert ({error!r})")
    if runs == Runs():
        raise ValueError(f"{runs_dir}: contains no runs; expected the directory of the runs, given by --runs")
    runs.finished.sort(key=_order)
    return runs


def _order(run: FinishedRun) -> tuple:
    value = run.score["value"]
    return run.group, -run.metric.sign * value if value is not None else 0.0


def _run_dirs(folder: Path) -> Iterator[Path]:
    """Yield the directories of runs; those inside another one, such as the seeds of a run, are parts of it."""
    for parent, names, files in os.walk(folder):
        if {REPORT, STARTED, UNEXPORTED}.intersection(files):
            yield Path(parent)
            names.clear()
        names[:] = sorted(name for name in names if not name.startswith("."))


def _add(runs: Runs, path: Path) -> None:
    if not (path / REPORT).exists() or (path / UNEXPORTED).exists():
        runs.unfinished.append(_unfinished(path))
    if not (path / REPORT).exists():
        return
    report = read_json(path / REPORT)
    if "task" not in report:
        before, after = (report[time]["masked_word_loss"] for time in ("before", "after"))
        seconds = sum(report["seconds"].values())
        encoder = report["config"]["encoder"]["name"]
        runs.pretrained.append(PretrainingRun(path=path, encoder=encoder, before=before, after=after, seconds=seconds))
    elif "plan" in report:
        best = read_json(path / BEST_RUN / REPORT)
        seconds, num_trials = report["seconds"], len(report["trials"])
        runs.finished.append(_finished(path, path / BEST_RUN, best | {"seconds": seconds}, num_trials))
    else:
        runs.finished.append(_finished(path, path, report, None))


def _finished(path: Path, run_dir: Path, report: Mapping[str, Any], num_trials: int | None) -> FinishedRun:
    split = next((name for name in ("test", "validation") if (report[name] or {}).get("metrics")), None)
    metric, score, data, seeds = None, {"value": None, "low": None, "high": None}, None, {"count": 1}
    if split:
        metrics = [Metric.from_json(fields) for fields in report["metrics"]]
        scores = report[split]["metrics"]
        metric = main_metric([m for m in metrics if m.name in scores], report["config"]["train"]["monitor"])
        score = {bound: scores[metric.name].get(bound) for bound in score}
        data = {"split": split, **report["data"][split]}
        if report["seeds"]:
            over_seeds = report["seeds"][split][metric.name]
            seeds = {"count": report["seeds"]["count"], "mean": over_seeds["mean"], "std": over_seeds["std"]}
    sizes = [weights.stat().st_size for weights in run_dir.rglob(BEST)]
    return FinishedRun(
        path=path,
        task=report["task"],
        data=data,
        metric=metric,
        score=score,
        seeds=seeds,
        config=report["config"],
        num_trials=num_trials,
        seconds=sum(seconds for seconds in report["seconds"].values() if seconds),
        num_bytes=max(sizes, default=None),
        finished=(path / REPORT).stat().st_mtime,
    )


def _unfinished(path: Path) -> UnfinishedRun:
    stored = next((path / name for name in (STARTED, REPORT) if (path / name).exists()), None)
    command = read_json(stored).get("command", "") if stored else ""
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


def _table(group: Sequence[FinishedRun]) -> Table:
    """Return the table of runs that can be compared, with a column for each setting that differs."""
    first = group[0]
    folder = Path(os.path.commonpath([run.path.parent for run in group]))
    title = f"{first.task}: no scores, for lack of a test and a validation split"
    if first.data:
        data, note = first.data, f"{first.data['note']}; " if first.data["note"] else ""
        title = (
            f"{first.task}: {first.metric.title} on {data['num_examples']:,} {data['split']} records of {data['path']} "
            f"({note}SHA-256 {data['sha256'][:_HASH_CHARACTERS]})"
        )
    differing = differing_values([run.config for run in group])
    settings = [(path, values) for path, values in differing if path not in _IGNORED_SETTINGS]
    rows = [
        [
            str(run.path.relative_to(folder)),
            *_score_cells(run),
            _seeds_cell(run),
            duration(run.seconds),
            size(run.num_bytes) if run.num_bytes else "–",
            run.config["encoder"]["name"],
            *(values[index] for _, values in settings),
        ]
        for index, run in enumerate(group)
    ]
    score = first.metric.title if first.metric else "score"
    names = [path.rpartition(".")[2] for path, _ in settings]
    columns = [f"{folder}/", score, "95% interval", "seeds", "time", "weights", "encoder", *names]
    return title, columns, rows


def _score_cells(run: FinishedRun) -> list[str]:
    if run.metric is None:
        return ["–", "–"]
    interval = run.metric.format_interval(run.score["low"], run.score["high"], with_unit=False)
    return [run.metric.format(run.score["value"]), interval]


def _seeds_cell(run: FinishedRun) -> str:
    if run.num_trials is not None:
        return f"search of {run.num_trials} trials"
    if run.seeds["count"] == 1:
        return "1"
    spread = run.metric.format_spread(run.seeds["mean"], run.seeds["std"], with_unit=False)
    return f"{run.seeds['count']}: {spread}"
