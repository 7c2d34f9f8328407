"""Tune the hyperparameters of a task with Keras Tuner: write the best config, a report and a SavedModel."""

import argparse
import os
from pathlib import Path

from tfbert.commands import exporting, program
from tfbert.files import BEST_RUN


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, allow_abbrev=False)
    parser.add_argument("--task", help="task name, as in train --list (default: classification, or that of --config)")
    program.add_data_arguments(parser)
    parser.add_argument("--encoder", metavar="NAME_OR_DIR", help="encoder, as for train")
    parser.add_argument("--algorithm", default="bayesian", help="bayesian, hyperband, random or grid (%(default)s)")
    parser.add_argument("--trials", metavar="N", type=int, help="maximum number (default: 20, or set by the algorithm)")
    parser.add_argument("--hours", metavar="H", type=float, help="start no trial after H hours")
    parser.add_argument("--executions", metavar="K", type=int, default=1, help="random seeds per trial (%(default)s)")
    parser.add_argument("--confirm", metavar="K", type=int, default=3, help="new seeds for the best (%(default)s)")
    parser.add_argument("--keep", metavar="K", type=int, default=1, help="trials that keep weights (%(default)s)")
    parser.add_argument("--stop-hopeless", action="store_true", help="stop trials early that are worse than most")
    parser.add_argument("--workers", metavar="N", type=int, help="number of processes on this machine")
    parser.add_argument("--space", metavar="FILE", type=Path, help="JSON search space (default: that of the task)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="directory (default: runs/TASK-search/TIME-HASH)")
    parser.add_argument("--name", help="name of the model in saved_models/ (default: the name of the data)")
    parser.add_argument("--config", metavar="FILE", type=Path, help="config.json of an earlier run, as the base config")
    parser.add_argument(
        "--set", metavar="PATH=VALUE", action="append", default=[], help="config field or search.space.PATH"
    )
    parser.add_argument("--restart", action="store_true", help="discard an unfinished search and start over")
    parser.add_argument("--no-export", action="store_true", help="stop after the report")
    return parser


def read_plan(options: argparse.Namespace):
    """Return the plan: the task's search space and defaults, overridden by files, then by --set."""
    from tfbert.hyperparameters import plan

    names = ("algorithm", "trials", "hours", "executions", "stop_hopeless")
    return plan.read_plan(
        options.task,
        options.config,
        options.space,
        options.set,
        program.given_values(options),
        confirmations=options.confirm,
        kept=options.keep,
        **{name: getattr(options, name) for name in names},
    )


def main(options: argparse.Namespace) -> None:
    """Search, confirm the best config with new seeds, export it, and print sample predictions."""
    plan = read_plan(options)
    from tfbert.api import jobs
    from tfbert.hyperparameters import run, workers
    from tfbert.serving import export_run

    name = None if options.no_export else options.name or export_run.model_name(plan.config)

    def start_workers(out_dir: Path) -> workers.Processes:
        return workers.Processes(options.workers, [*program.python_arguments(), "--out", str(out_dir)])

    out_dir = jobs.search_plan(
        plan,
        options.out,
        program.command(),
        start_workers if options.workers else None,
        exports=name is not None,
        restart=options.restart,
    )
    if out_dir is None:  # the chief has the search
        return
    print(f"report      {out_dir / 'report.html'}\nconfig      {out_dir / run.BEST_CONFIG}")
    if name is not None:
        exporting.export(out_dir / BEST_RUN, name, out_dir)


def is_worker() -> bool:
    """Return whether this process runs trials for a chief, which ends it with SIGTERM when all are done."""
    return "chief" not in os.environ.get("KERASTUNER_TUNER_ID", "chief")


def run() -> None:
    """Run the command with the arguments of this process, and exit."""
    program.run("search", build_parser, main, resumes=True, catches_sigterm=not is_worker())
