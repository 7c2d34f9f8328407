"""A plan in, the best config out: trials, fresh seeds, one look at the test split, a model to export and a report."""

import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tfbert.evaluation.formatting import words
from tfbert.files import read_json, write_json
from tfbert.interrupts import Stopped
from tfbert.models.data import data_path
from tfbert.models.saved_run import REPORT
from tfbert.search import confirm, page, workers
from tfbert.search import trials as records
from tfbert.search.hypermodel import metric_of, objective_of, searchable
from tfbert.search.loop import Searcher
from tfbert.search.oracles import make_oracle
from tfbert.search.plan import Plan
from tfbert.search.trials import BEST, CHECKPOINT, Trial, ranked
from tfbert.tasks.base import load_task
from tfbert.text.splits import load_splits
from tfbert.training import run
from tfbert.training.problem import Problem, prepare
from tfbert.training.run_dir import DATA, check_data, find_unfinished, new_name, opened, versions

logger = logging.getLogger(__name__)

BEST_RUN, BEST_CONFIG = "best", "best_config.json"
_ORACLE, _PLAN = "oracle.json", "plan.json"
_BOARD = "tensorboard"


def choose_out_dir(plan: Plan, runs_dir: Path, restart: bool = False) -> Path:
    """Return the directory of an unfinished search of exactly this plan, or a new name.

    Args:
        plan: of the search.
        runs_dir: where runs are, such as `runs/`.
        restart: whether it has to be a new one.
    """
    folder, mark = runs_dir / f"{plan.config.task}-search", plan.fingerprint()
    return folder / new_name(mark) if restart else find_unfinished(folder, mark, mark)


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
        plan: of the search.
        out_dir: made if missing; a search of the same plan that was killed in it goes on.
        command: that repeats the search, for the report.
        processes: the workers of this machine, if there are any.
        exports: whether `best` will be exported; if a process that was to do so ended before it had, the same call
            returns the report of the finished search.
        restart: whether to drop an unfinished search in the directory, such as one on data that have changed since.

    Returns:
        What `report.json` holds. `best` in the directory is a finished run, and `best_config.json` its config.

    Raises:
        ValueError: the plan or the data cannot be used, another search or one on other data was in the directory, or no
            trial succeeds.
        WriteError: the disk is full.
        Stopped: a signal stopped the process; the message says what was saved.
    """
    plan.check()
    with opened(out_dir, plan.fingerprint(), exports):
        if (out_dir / REPORT).exists():
            task = load_task(plan.config.task)
            check_data(out_dir, load_splits(plan.config.data, data_path(plan.config), task.schema))
            return read_json(out_dir / REPORT)
        if restart:
            _drop(out_dir)
        searcher = _searcher(plan, out_dir, "tuner0")
        searcher.oracle.keep_in(out_dir / _ORACLE, plan.hours)
        try:
            if workers.is_chief():
                # Only a process that is gone can have left a sign of life from before.
                shutil.rmtree(out_dir / workers.SIGNS, ignore_errors=True)
                _serve(searcher, processes)
                # What workers have left, which is nothing unless all of them are gone.
                searcher = replace(searcher, is_alone=False)
            searcher.search()
            return _conclude(searcher, command)
        except KeyboardInterrupt as error:
            ended = sum(trial.state != records.RUNNING for trial in records.read_trials(out_dir))
            message = getattr(error, "message", "") or "stopped"
            raise Stopped.by(error, f"{message}; {ended} trials have ended and are kept in {out_dir}") from error


def assist(plan: Plan, out_dir: Path) -> None:
    """Run trials that the chief gives out, until there are no more.

    Args:
        plan: as the chief's.
        out_dir: the very directory of the chief.

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
        workers.asking_the_chief(searcher).search()


def _searcher(plan: Plan, out_dir: Path, name: str) -> Searcher:
    said = json.loads(json.dumps(plan.to_json()))
    path = out_dir / _PLAN
    if path.exists() and read_json(path) != said:
        raise ValueError(f"{out_dir}: is of another search (other config, space or options); wanted another --out")
    problem = searchable(prepare(plan.config))
    if (out_dir / _ORACLE).exists() and not (out_dir / DATA).exists():
        logger.warning("%s: does not say on which data it was begun; they are taken to be the same", out_dir)
    try:
        check_data(out_dir, problem.splits)
    except ValueError as error:
        raise ValueError(f"{error}; --restart drops the trials that there are, and starts over") from error
    write_json(path, said)
    objective = objective_of(problem)
    oracle = make_oracle(plan, objective)
    return Searcher(plan=plan, problem=problem, objective=objective, out_dir=out_dir, oracle=oracle, tuner_id=name)


def _drop(out_dir: Path) -> None:
    """Remove all that an unfinished search has left in its directory."""
    for name in (_BOARD, confirm.CONFIRMED, records.TRIALS, workers.SIGNS, BEST_RUN):
        shutil.rmtree(out_dir / name, ignore_errors=True)
    for name in (_ORACLE, DATA, BEST_CONFIG, records.TABLE, _PLAN):
        (out_dir / name).unlink(missing_ok=True)


def _serve(searcher: Searcher, processes: workers.Processes | None) -> None:
    with workers.quiet():
        if processes is None:
            workers.serve(searcher)
            return
        processes.start()
        try:
            workers.serve(searcher, processes.killed)
        finally:
            processes.stop()


def _conclude(searcher: Searcher, command: str) -> dict:
    out_dir = searcher.out_dir
    trials = records.read_trials(out_dir)
    winner = _confirmed(searcher, trials) if searcher.plan.confirmations else _best_trial(searcher, trials)
    seconds = {
        "trials": sum(trial.seconds for trial in trials),
        "confirm": sum(candidate["seconds"] for candidate in winner["candidates"]),
    }
    config = searcher.plan.config_of(winner["values"], winner["seed"])
    started = time.monotonic()
    tested = _tested(searcher.problem.with_config(config), winner.pop("folder"), out_dir / BEST_RUN, command)
    write_json(out_dir / BEST_CONFIG, config.to_dict())
    report = {
        "task": config.task,
        "plan": searcher.plan.to_json(),
        "objective": metric_of(searcher.problem).to_json(),
        "trials": [asdict(trial) for trial in trials],
        **winner,
        **{name: tested[name] for name in ("validation", "test", "data", "checks", "encoder", "peak_memory_bytes")},
        "seconds": {**seconds, "test": time.monotonic() - started},
        "versions": versions(),
        "command": command,
        "config": config.to_dict(),
    }
    report["sentence"] = verdict(report)
    logger.info("%s", report["sentence"])
    page.render(report, out_dir / "report.html")
    write_json(out_dir / REPORT, report)
    return report


def _confirmed(searcher: Searcher, trials: Sequence[Trial]) -> dict:
    """Return the winner on fresh seeds, and how it compares with the default config, which it may be itself."""
    logger.info("the default config and the best trials again, on %d fresh seeds", searcher.plan.confirmations)
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
    """Return the trial with the highest score, as it is.

    Raises:
        ValueError: none succeeded.
    """
    best = next(iter(ranked(trials, searcher.is_gain)), None)
    if best is None:
        raise ValueError(f"none of {len(trials)} trials succeeded; the last one: {'; '.join(trials[-1].notes)}")
    execution = records.best_execution(best, searcher.is_gain)
    return {
        "winner": best.id,
        "values": searcher.values_of(best),
        "seed": searcher.plan.config.train.seed + execution,
        "candidates": [],
        "comparison": None,
        "folder": records.trial_dir(searcher.out_dir, best.id) / str(execution),
    }


def _tested(problem: Problem, folder: Path, run_dir: Path, command: str) -> dict:
    """Return the report of a finished run that a training becomes, as which it is evaluated on test."""
    if not (run_dir / REPORT).exists():
        run_dir.mkdir(exist_ok=True)
        for name in (BEST, CHECKPOINT):
            shutil.copyfile(folder / name, run_dir / name)
        run.train(problem, run_dir, command=command)
    return read_json(run_dir / REPORT)


def verdict(report: dict) -> str:
    """Return in one or two sentences what the search was worth."""
    name, compared = report["objective"]["name"], report["comparison"]
    if not report["candidates"]:
        return (
            f"The best of {len(report['trials'])} trials was taken as it is. The best of many is partly the luckiest: "
            "its score on validation says more than is true, and whether it beats the defaults was not asked."
        )
    if report["winner"] == confirm.DEFAULT:
        return "On fresh seeds no trial was better than the default config, which is kept."
    if compared is None:
        return (
            f"The default config cannot be trained ({report['candidates'][0]['failed']}); trial {report['winner']} can."
        )
    low, high = (f"{compared[end]:+.4f}" for end in ("low", "high"))
    found = f"{words(name)} on {compared['split']} {compared['difference']:+.4f} ({low} to {high}) against the defaults"
    if compared["low"] > 0:
        return f"Trial {report['winner']} really beats the default config: {found}."
    if compared["high"] < 0:
        return f"Trial {report['winner']} won on validation but is worse than the default config: {found}."
    return f"Trial {report['winner']} won, but the difference may be chance: {found}."
