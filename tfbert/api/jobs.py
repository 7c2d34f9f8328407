"""Fine-tuning, pretraining and search, from data and keyword arguments or from a config as in the commands."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfbert.api import memory
from tfbert.api.models import Run
from tfbert.api.options import command_line, config_values
from tfbert.api.report import Report
from tfbert.config import Config, RootConfig
from tfbert.files import BEST_RUN, ENCODER, RUNS_DIR
from tfbert.pretraining import adapt as adaptation
from tfbert.pretraining import run as pretraining
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.config import read_config as read_pretrain_config
from tfbert.space import space_from_json, space_options
from tfbert.tasks.base import load_task
from tfbert.tasks.base_config import read_config
from tfbert.training import run as fine_tuning
from tfbert.training.distribution import join
from tfbert.training.problem import prepare

if TYPE_CHECKING:  # They import Keras Tuner, which is needed only for a search.
    from tfbert.hyperparameters.plan import Plan
    from tfbert.hyperparameters.workers import Processes

# One or several paths.
Paths = str | os.PathLike | Sequence[str | os.PathLike]


@dataclass(frozen=True)
class Pretraining:
    """A finished pretraining.

    Args:
        path: the directory of the run.
        encoder: path of the encoder, for the argument `encoder` of `tfbert.fine_tune`.
        report: the report, which a notebook shows as a page.
    """

    path: Path
    encoder: str
    report: Report = field(repr=False)


@dataclass(frozen=True)
class Search:
    """A finished search.

    Args:
        path: the directory of the search.
        best: the run with the best config.
        report: the report, which a notebook shows as a page.
    """

    path: Path
    best: Run
    report: Report = field(repr=False)


def fine_tune(
    data: memory.Data = None,
    task: str = "classification",
    *,
    encoder: str | os.PathLike | None = None,
    seed: int | None = None,
    seeds: int = 1,
    adapt: bool | Paths = False,
    out: str | os.PathLike | None = None,
    **options: Any,
) -> Run | None:
    """Fine-tune BERT on a task, and write a run directory with a report. An unfinished run of the same call is resumed.

    Args:
        data: labelled data: the path of a file or directory; a pandas DataFrame; a list of dicts, from column to value;
            a list of tuples with the values of the required columns, such as `(text, label)`; or a dict from the
            splits `train`, `validation`, `calibration` and `test` to any of these. Missing splits are cut from the
            others. Data in memory is written to the directory of the runs. `None` for the samples of the task.
        task: name or alias of the task, as listed by `tfbert list`.
        encoder: name listed by `tfbert list`, directory, or `hf://owner/name`; `None` for the default encoder.
        seed: random seed for weights, data order and dropout; `None` for 0.
        seeds: number of trainings, with consecutive seeds; the best on validation is the result.
        adapt: whether to first continue pretraining on the texts of train, or files or directories of other texts.
        out: directory of the run; `None` for `runs/TASK/TIME-HASH`.
        **options: any other config field by its name, such as `epochs=3` for `train.epochs`; `section__name` where a
            name is not unique, such as `encoder__dropout=0.2`.

    Returns:
        The finished run; `None` in a worker of a distributed training, which writes no files.

    Raises:
        ValueError: the data, the encoder or an option cannot be used, or training diverged; the message says where the
            fault is.
        TypeError: an option does not exist; a similar one is named.
        Stopped: a `KeyboardInterrupt`, after Ctrl-C; the message says what was saved.
    """
    values = _values("fine_tune", Config, options, encoder, seed)
    values |= memory.data_values(data, load_task(task), _folder(out), values)
    config = read_config(task, None, values)
    corpus = None if adapt is False else [] if adapt is True else _paths(adapt)
    arguments = {"seeds": None if seeds == 1 else seeds, "adapt": corpus, "out": out}
    command = command_line("train", {"task": config.task, **values}, **arguments)
    run_dir = fine_tune_config(config, _path(out), seeds, corpus, command)
    return None if run_dir is None else Run(run_dir)


def fine_tune_config(
    config: Config,
    out: Path | None = None,
    num_seeds: int = 1,
    corpus: Sequence[str] | None = None,
    command: str = "",
    exports: bool = False,
) -> Path | None:
    """Fine-tune as a config says, and return the directory of the run.

    Args:
        config: config of the run.
        out: the directory; `None` chooses that of an unfinished run of the same config, or a new one in `runs/`.
        num_seeds: number of trainings, with consecutive seeds.
        corpus: files and directories to continue pretraining on first, empty for the texts of train; `None` for no
            further pretraining.
        command: the command that repeats the run, for the report.
        exports: as for `training.run.train`.

    Returns:
        The directory; `None` in a worker of a distributed training.

    Raises:
        ValueError: the data, the encoder, the directory or the number of trainings cannot be used, or training
            diverged.
        ConnectionError: another process of the training was lost.
        Stopped: a signal stopped the process; the message says what was saved.
    """
    if num_seeds < 1:
        raise ValueError(f"seeds={num_seeds}: expected 1 or more")
    problem = dataclasses.replace(prepare(config), explains=True)
    if corpus is not None:
        run_dir = out or adaptation.choose_run_dir(problem, corpus, RUNS_DIR, num_seeds)
        adaptation.train(problem, corpus, run_dir, num_seeds, command, exports)
    elif problem.replicas.is_chief:
        run_dir = out or fine_tuning.choose_run_dir(problem, RUNS_DIR, num_seeds)
        fine_tuning.train(problem, run_dir, num_seeds, command, exports)
    else:
        run_dir = None
        fine_tuning.assist(problem, num_seeds)
    return run_dir


def pretrain(
    corpus: Paths | None = None,
    *,
    encoder: str | os.PathLike | None = None,
    from_scratch: bool = False,
    seed: int | None = None,
    out: str | os.PathLike | None = None,
    **options: Any,
) -> Pretraining | None:
    """Pretrain BERT on text, from an existing encoder or from scratch. An unfinished run of the same call is resumed.

    Args:
        corpus: files or directories of text; `None` for a small sample.
        encoder: the encoder to start from, as for `fine_tune`; `None` for the default encoder.
        from_scratch: whether to start from a new encoder of the sizes in the section `encoder`, instead.
        seed: random seed for weights, data order, masks and dropout; `None` for 0.
        out: directory of the run; `None` for `runs/pretraining/TIME-HASH`.
        **options: any other config field of pretraining by its name, as for `fine_tune`; see `tfbert pretrain --list`.

    Returns:
        The finished pretraining; `None` in a worker of a distributed training.

    Raises:
        ValueError: the corpus, the encoder or an option cannot be used, or training diverged.
        TypeError: an option does not exist; a similar one is named.
        Stopped: a `KeyboardInterrupt`, after Ctrl-C; the message says what was saved.
    """
    if from_scratch and encoder is not None:
        raise ValueError(f"encoder={encoder}: cannot be combined with from_scratch=True")
    values = _values("pretrain", PretrainConfig, options, encoder, seed)
    values |= {"corpus.paths": tuple(_paths(corpus))} if corpus is not None else {}
    command = command_line("pretrain", values, from_scratch=from_scratch, out=out)
    config = read_pretrain_config(None, [], values | ({"encoder.name": None} if from_scratch else {}), False)
    run_dir = _path(out) or pretraining.choose_run_dir(config, RUNS_DIR)
    report = pretrain_config(config, run_dir, command)
    if report is None:
        return None
    return Pretraining(run_dir, str(run_dir / ENCODER), Report(run_dir))


def pretrain_config(config: PretrainConfig, run_dir: Path, command: str = "") -> dict | None:
    """Pretrain as a config says.

    Args:
        config: config of the run.
        run_dir: created if missing.
        command: the command that repeats the run, for the report.

    Returns:
        The content of `report.json`; `None` in a worker of a distributed training.

    Raises:
        ValueError: corpus, vocabulary, encoder or directory cannot be used, or training diverged.
        ConnectionError: another process of the training has ended.
        Stopped: a signal stopped the process; the message says what was saved.
    """
    if join(config.train.distribution).is_chief:
        return pretraining.pretrain(config, run_dir, command)
    pretraining.assist(config)
    return None


def search(
    data: memory.Data = None,
    task: str = "classification",
    *,
    algorithm: str = "bayesian",
    trials: int | None = None,
    hours: float | None = None,
    executions: int = 1,
    confirm: int = 3,
    space: Mapping[str, Any] | None = None,
    encoder: str | os.PathLike | None = None,
    seed: int | None = None,
    out: str | os.PathLike | None = None,
    **options: Any,
) -> Search | None:
    """Tune the hyperparameters of a task. An unfinished search of the same call is resumed.

    Args:
        data: labelled data, as for `fine_tune`.
        task: name or alias of the task.
        algorithm: `bayesian`, `hyperband`, `random` or `grid`.
        trials: maximum number of trials; `None` for 20, or the number that the algorithm determines.
        hours: no trial starts after this time; `None` for no limit.
        executions: number of random seeds per trial.
        confirm: number of fresh seeds with which the best trials and the default config are compared; 0 for none.
        space: search space, from config path to a list of values, `{"range": [low, high]}` or
            `{"log_range": [low, high]}`; `None` for that of the task.
        encoder: as for `fine_tune`.
        seed: as for `fine_tune`.
        out: directory of the search; `None` for `runs/TASK-search/TIME-HASH`.
        **options: any other config field of all trials, as for `fine_tune`.

    Returns:
        The finished search; `None` in a worker of a distributed search.

    Raises:
        ValueError: the data, the space or an option cannot be used, or no trial succeeds.
        TypeError: an option does not exist; a similar one is named.
        Stopped: a `KeyboardInterrupt`, after Ctrl-C; the message says what was saved.
    """
    from tfbert.hyperparameters.plan import Plan

    values = _values("search", Config, options, encoder, seed)
    values |= memory.data_values(data, load_task(task), _folder(out), values)
    config = read_config(task, None, values)
    limits = {"algorithm": algorithm, "trials": trials, "hours": hours, "executions": executions}
    default_space = load_task(task).search_space
    plan_space = default_space if space is None else space_from_json(space, "space")
    plan = Plan(config=config, space=plan_space, confirmations=confirm, **limits)
    plan.check()
    values = {"task": config.task, **space_options(plan_space, default_space), **values}
    command = command_line("search", values, **limits, confirm=confirm, out=out)
    out_dir = search_plan(plan, _path(out), command)
    return None if out_dir is None else Search(out_dir, Run(out_dir / BEST_RUN), Report(out_dir))


def search_plan(
    plan: "Plan",
    out: Path | None = None,
    command: str = "",
    start_workers: Callable[[Path], "Processes"] | None = None,
    exports: bool = False,
    restart: bool = False,
) -> Path | None:
    """Search as a plan says, and return the directory of the search.

    Args:
        plan: plan of the search.
        out: the directory; `None` chooses that of an unfinished search with the same plan, or a new one in `runs/`.
        command: the command that repeats the search, for the report.
        start_workers: returns worker processes for the directory; `None` for no workers.
        exports: as for `hyperparameters.run.search`.
        restart: as for `hyperparameters.run.search`.

    Returns:
        The directory; `None` in a worker.

    Raises:
        ValueError: the plan, the data or the directory cannot be used, or no trial succeeds.
        Stopped: a signal stopped the process; the message says what was saved.
    """
    from tfbert.hyperparameters import run, workers

    out_dir = out or run.choose_out_dir(plan, RUNS_DIR, restart)
    if workers.role() and not workers.is_chief():
        run.assist(plan, out_dir)
        return None
    run.search(plan, out_dir, command, start_workers and start_workers(out_dir), exports, restart)
    return out_dir


def _values(
    function: str,
    root: type[RootConfig],
    options: Mapping[str, Any],
    encoder: str | os.PathLike | None,
    seed: int | None,
) -> dict[str, Any]:
    """Return the config values of the keyword arguments."""
    values = config_values(function, options, root)
    values |= {} if encoder is None else {"encoder.name": os.fspath(encoder)}
    return values | ({} if seed is None else {"train.seed": seed})


def _folder(out: str | os.PathLike | None) -> Path:
    """Return the directory in which data in memory is written."""
    return _path(out) or RUNS_DIR


def _path(path: str | os.PathLike | None) -> Path | None:
    return None if path is None else Path(path)


def _paths(paths: Paths) -> list[str]:
    return [os.fspath(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
