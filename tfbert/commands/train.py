"""Fine-tune BERT on a task: write a run directory with a report, and a SavedModel for TensorFlow Serving."""

import argparse
from pathlib import Path

from tfbert.commands import exporting, listing, program


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("--task", help="task name, as in --list (default: classification, or that of --config)")
    program.add_data_arguments(parser)
    parser.add_argument(
        "--encoder", metavar="NAME_OR_DIR", help="name in --list, directory, or hf://owner/name[@revision]"
    )
    parser.add_argument(
        "--corrections",
        metavar="FILE",
        help="doubtful.csv of `tfbert check --doubtful` or of a run, filled in by a person",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="run directory (default: runs/TASK/TIME-HASH)")
    parser.add_argument("--name", help="name of the model in saved_models/ (default: the name of the data)")
    parser.add_argument("--seed", metavar="N", type=int, help="random seed for weights, data order and dropout")
    parser.add_argument("--seeds", metavar="K", type=int, default=1, help="train with K seeds and export the best run")
    parser.add_argument("--config", metavar="FILE", type=Path, help="config.json of an earlier run")
    parser.add_argument("--set", metavar="SECTION.FIELD=VALUE", action="append", default=[], help="any config field")
    parser.add_argument(
        "--adapt", metavar="PATH", nargs="*", help="first continue pretraining on these texts (default: the task's)"
    )
    parser.add_argument("--no-export", action="store_true", help="stop after the report")
    parser.add_argument(
        "--list", action="store_true", help="print tasks, encoders and the config fields of the task, and exit"
    )
    return parser


def read_config(options: argparse.Namespace):
    """Return the config: the task's defaults or --config, overridden by --set and other options."""
    from tfbert.config import parse_assignments
    from tfbert.tasks import base_config

    values = parse_assignments(options.set) | program.given_values(options)
    return base_config.read_config(options.task, options.config, values)


def main(options: argparse.Namespace) -> None:
    """Train, print scores, export, and print sample predictions.

    Raises:
        ValueError: an option, the data or the encoder cannot be used.
    """
    config = read_config(options)
    if options.list:
        listing.print_list(config.task)
        return
    from tfbert.api import jobs
    from tfbert.api.report import Report
    from tfbert.serving import export_run

    # Check the name before training, not after it.
    name = None if options.no_export else options.name or export_run.model_name(config)
    run_dir = jobs.fine_tune_config(
        config, options.out, options.seeds, options.adapt, program.command(), exports=name is not None
    )
    if run_dir is None:  # the chief has the run
        return
    print(Report(run_dir))
    if name is not None:
        exporting.export(run_dir, name, run_dir)


def run() -> None:
    """Run the command with the arguments of this process, and exit."""
    program.run("train", build_parser, main, resumes=True)
