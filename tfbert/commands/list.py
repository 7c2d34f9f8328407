"""List the tasks, the encoders, and the config fields of a task with defaults, allowed values and descriptions."""

import argparse

from tfbert.commands import listing, program


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument(
        "--task", default="classification", help="task name or alias whose config fields are listed (%(default)s)"
    )
    return parser


def main(options: argparse.Namespace) -> None:
    """Print the list."""
    from tfbert.tasks.base import load_task

    listing.print_list(load_task(options.task).name)


def run() -> None:
    """Run the command with the arguments of this process, and exit."""
    program.run("list", build_parser, main)
