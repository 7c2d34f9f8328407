"""A complete search: trials, confirmation with fresh seeds, one evaluation on test, and the report."""

import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tfbert.evaluation.formatting import duration
from tfbert.evaluation.headline import difference_text
from tfbert.evaluation.metric import Metric
from tfbert.files import BEST_RUN, REPORT, read_json, write_json
from tfbert.hyperparameters import confirm, page, workers
from tfbert.hyperparameters import trials as trial_store
from tfbert.hyperparameters.hypermodel import metric_of, objective_of, searchable
from tfbert.hyperparameters.loop import Searcher
from tfbert.hyperparameters.oracles import make_oracle
from tfbert.hyperparameters.plan import Plan, count, space_with_effect
from tfbert.hyperparameters.trials import Trial, ranked
from tfbert.interrupts import Stopped
from tfbert.models.data import load_task_splits
from tfbert.tasks.base import load_task
from tfbert.training import base_run, run
from tfbert.training.checkpoint import BEST, CHECKPOINT
from tfbert.training.problem import Problem, prepare
from tfbert.training.run_dir import DATA, check_data, find_unfinished, new_name, opened, versions
from tfbert.training.trackers import TRACKER, open_tracker

logger = logging.getLogger(__name__)

BEST_CONFIG = "best_config.json"
_ORACLE, _PLAN = "oracle.json", "plan.json"
_TENSORBOARD = "tensorboard"
# The keys of the winner's report that the report of the search has too.
_FROM_WINNER = ("validation", "test", "data", "data_name", "checks", "encoder", "resolved", "first_update_at")


def choose_out_dir(plan: Plan, runs_dir: Path, restart: bool = False) -> Path:
    """Return the directory of an unfinished search of exactly this plan, or a new name.

    Args:
        plan: plan of the search.
        runs_dir: directory of all runs, such as `runs/`.
        restart: whether to return a new name in any case.
    """
    folder, tag = runs_dir / f"{plan.config.task}-search", plan.fingerprint()
    return folder / new_name(tag) if restart else find_unfinished(folder, tag, tag)


def search(
    plan: Plan,
    out_dir: Path,
    command: str = "",
    processes: workers.Processes | None = None,
    exports: bool = False,
    restart: bool = False,
) -> dict:
    """Search, confirm, test and report, as the only process or as the chief of workers.

    Args:
        plan: plan of the search.
        out_dir: created if missing; an unfinished search with the same plan in it is resumed.
        command: the command that repeats the search, for the report.
        processes: workers on this machine; `None` starts none.
        exports: whether the caller will export `best`; until it has, the same call returns the report of the finished
            search.
        restart: whether to drop an unfinished search in the directory, such as one whose data have changed.

    Returns:
        The content of `report.json`. `best` in the directory is a finished run, and `best_config.json` its config.

    Raises:
        ValueError: the plan or the data cannot be used, the directory holds another search or one on other data, or no
            trial succeeds.
        WriteError: the disk is full.
        Stopped: a signal stopped the process; the message says what was saved.
    """
    plan.check()
    # The command that resumes the search must not discard it.
    with opened(out_dir, plan.fingerprint(), exports, command.replace(" --restart", "")):
        if (out_dir / REPORT).exists():
            task = load_task(plan.config.task)
            check_data(out_dir, load_task_splits(plan.config, task))
            return read_json(out_dir / REPORT)
        if restart:
            _drop(out_dir)
        searcher = _searcher(plan, out_dir, "tuner0")
        searcher.oracle.persist(out_dir / _ORACLE, plan.hours)
        logger.info("%s", plan.announcement())
        # The trials become its children.
        open_tracker(plan.config, out_dir).close()
        try:
            if workers.is_chief():
                # Heartbeats in the directory are those of processes that no longer exist.
                shutil.rmtree(out_dir / workers.HEARTBEATS, ignore_errors=True)
                _serve(searcher, processes)
                # The chief runs the remaining trials itself; there are some only if all workers were lost.
                searcher = replace(searcher, is_alone=False)
            searcher.search()
            return _conclude(searcher, command)
        except KeyboardInterrupt as error:
            ended = sum(trial.state != trial_store.RUNNING for trial in trial_store.read_trials(out_dir))
            message = getattr(error, "message", "") or "stopped"
            raise Stopped.by(error, f"{message}; the results of {ended} trials are in {out_dir}") from error


def assist(plan: Plan, out_dir: Path) -> None:
    """Run trials for the chief until there are no more.

    Args:
        plan: the same as the chief's.
        out_dir: the directory of the chief.

    Raises:
        ValueError: the plan or the data cannot be used.
    """
    plan.check()
    if (out_dir / REPORT).exists():
        return
    out_dir.mkdir(parents=True, exist_ok=True)
    name = workers.role()
    searcher = _searcher(plan, out_dir, name)
    with workers.heartbeat(out_dir, name), workers.quiet():
        workers.with_chief_oracle(searcher).search()


def _searcher(plan: Plan, out_dir: Path, name: str) -> Searcher:
    plan_json = json.loads(json.dumps(plan.to_json()))
    path = out_dir / _PLAN
    if path.exists() and read_json(path) != plan_json:
        raise ValueError(f"{out_dir}: holds another search (other config, space or options); expected another --out")
    problem = searchable(prepare(plan.config))
    if (out_dir / _ORACLE).exists() and not (out_dir / DATA).exists():
        logger.warning("%s: has no hashes of its data; they are assumed to be unchanged", out_dir)
    try:
        check_data(out_dir, problem.splits)
    except ValueError as error:
        raise ValueError(f"{error}; --restart drops the existing trials and starts over") from error
    write_json(path, plan_json)
    plan = replace(plan, space=space_with_effect(plan.space, problem.task, plan.config))
    plan.check()
    objective = objective_of(problem)
    oracle = make_oracle(plan, objective)
    return Searcher(plan=plan, problem=problem, objective=objective, out_dir=out_dir, oracle=oracle, tuner_id=name)


def _drop(out_dir: Path) -> None:
    """Remove the files of an unfinished search from its directory."""
    for name in (_TENSORBOARD, confirm.CONFIRMED, trial_store.TRIALS, workers.HEARTBEATS, BEST_RUN):
        shutil.rmtree(out_dir / name, ignore_errors=True)
    for name in (_ORACLE, DATA, BEST_CONFIG, trial_store.TABLE, TRACKER, _PLAN):
        (out_dir / name).unlink(missing_ok=True)


def _serve(searcher: Searcher, processes: workers.Processes | None) -> None:
    with workers.quiet():
        if processes is None:
            workers.serve(searcher)
            return
        processes.start()
        try:
            workers.serve(searcher, processes.restart_killed)
        finally:
            processes.stop()


def _conclude(searcher: Searcher, command: str) -> dict:
    out_dir = searcher.out_dir
    trials = trial_store.read_trials(out_dir)
    winner = _confirmed(searcher, trials) if searcher.plan.confirmations else _best_trial(searcher, trials)
    seconds = {
        "trials": sum(trial.seconds for trial in trials),
        "confirm": sum(candidate["seconds"] for candidate in winner["candidates"]),
    }
    config = searcher.plan.config_of(winner["values"], winner["seed"])
    started = time.monotonic()
    result = _evaluate(searcher.problem.with_config(config), winner.pop("folder"), out_dir / BEST_RUN, command)
    write_json(out_dir / BEST_CONFIG, config.to_dict())
    report = {
        "task": config.task,
        "run": out_dir.resolve().name,
        "plan": searcher.plan.to_json(),
        "objective": metric_of(searcher.problem).to_json(),
        "trials": [asdict(trial) for trial in trials],
        **winner,
        **{name: result[name] for name in (*_FROM_WINNER, "peak_memory_bytes")},
        "seconds": {**seconds, "test": time.monotonic() - started},
        "versions": versions(),
        "command": command,
        "config": config.to_dict(),
    }
    report["sentence"] = verdict(report)
    logger.info("%s", report["sentence"])
    page.render(report, out_dir / "report.html")
    write_json(out_dir / REPORT, report)
    base_run.track_report(searcher.plan.config, out_dir, report)
    return report


def _confirmed(searcher: Searcher, trials: Sequence[Trial]) -> dict:
    """Return the winner with fresh seeds, and its comparison with the default config, which may be the winner."""
    plan, seconds = searcher.plan, searcher.confirmation_seconds(trials)
    estimate = "" if seconds is None else f", about {duration(seconds)}"
    logger.info(
        "confirmation: training the default config and the best trials with %s each%s",
        count(plan.confirmations, "fresh seed"),
        estimate,
    )
    candidates, winner = confirm.confirm(searcher, trials)
    default, comparison = candidates[0], None
    if not default.failed:
        split = "test" if "test" in searcher.problem.splits else "validation"
        comparison = confirm.compare(searcher, winner, default, split)
    return {
        "winner": winner.name,
        "values": winner.values,
        "seed": winner.best_seed,
        "candidates": confirm.to_json(candidates),
        "comparison": comparison,
        "folder": confirm.best_run(searcher, winner),
    }


def _best_trial(searcher: Searcher, trials: Sequence[Trial]) -> dict:
    """Return the trial with the best score as the winner, without confirmation.

    Raises:
        ValueError: none succeeded.
    """
    best = next(iter(ranked(trials, searcher.higher_is_better)), None)
    if best is None:
        raise ValueError(f"none of {len(trials)} trials succeeded; the last error: {'; '.join(trials[-1].notes)}")
    execution = trial_store.best_execution(best, searcher.higher_is_better)
    return {
        "winner": best.id,
        "values": searcher.values_of(best),
        "seed": searcher.plan.config.train.seed + execution,
        "candidates": [],
        "comparison": None,
        "folder": trial_store.trial_dir(searcher.out_dir, best.id) / str(execution),
    }


def _evaluate(problem: Problem, folder: Path, run_dir: Path, command: str) -> dict:
    """Turn a training into a finished run, which includes the evaluation on test, and return its report."""
    if not (run_dir / REPORT).exists():
        run_dir.mkdir(exist_ok=True)
        for name in (BEST, CHECKPOINT):
            shutil.copyfile(folder / name, run_dir / name)
        run.train(problem, run_dir, command=command)
    return read_json(run_dir / REPORT)


def verdict(report: dict) -> str:
    """Return the result of the search in one or two sentences."""
    comparison = report["comparison"]
    if not report["candidates"]:
        return (
            f"The best of {len(report['trials'])} trials was taken without confirmation. The best of many is partly "
            "luck: its score on validation is too optimistic, and it was not compared with the default config."
        )
    if report["winner"] == confirm.DEFAULT:
        return "With fresh seeds no trial was better than the default config, which is kept."
    if comparison is None:
        return (
            f"The default config cannot be trained ({report['candidates'][0]['failed']}); trial {report['winner']} can."
        )
    if comparison["low"] == comparison["high"] == 0:
        return (
            f"Trial {report['winner']} won on validation, but its predictions on {comparison['split']} are as good as "
            "those of the default config on every record."
        )
    metric = Metric.from_json(report["objective"])
    shown = difference_text(metric, *(comparison[name] for name in ("difference", "low", "high")))
    difference = f"{metric.title} on {comparison['split']} differs by {shown}"
    if comparison["low"] > 0:
        return f"Trial {report['winner']} is better than the default config: {difference}."
    if comparison["high"] < 0:
        return f"Trial {report['winner']} won on validation but is worse than the default config: {difference}."
    return f"Trial {report['winner']} won, but the difference from the default config may be chance: {difference}."
