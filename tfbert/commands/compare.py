"""Compare runs and SavedModels on the same test records, or list all runs by their scores."""

import argparse
import json
import sys
import time
from pathlib import Path

from tfbert.commands import program, table
from tfbert.files import RUNS_DIR


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument(
        "models",
        metavar="[NAME=]RUN_OR_SAVED_MODEL",
        nargs="*",
        help="two or more run directories, or saved_models/NAME[/VERSION] with --data (default: list all runs)",
    )
    parser.add_argument(
        "--data", metavar="PATH", help="a labelled file, or a directory with a test split (default: the runs' own)"
    )
    parser.add_argument("--set", metavar="data.FIELD=VALUE", action="append", default=[], help="how to read the data")
    parser.add_argument("--metric", metavar="NAME", help="the metric to compare (default: the main metric of the task)")
    parser.add_argument("--out", metavar="FILE", type=Path, help="page to write (default: compare.html)")
    parser.add_argument("--runs", metavar="DIR", type=Path, help="directory of the runs to list (default: runs)")
    return parser


def main(options: argparse.Namespace) -> None:
    """Compare models and write a page, or list the runs.

    Raises:
        ValueError: options do not fit together, or the models cannot be compared.
    """
    if not options.models:
        _list_runs(options)
        return
    if options.runs:
        raise ValueError(f"--runs {options.runs}: lists runs; expected no models, or no --runs")
    from tfbert.comparison import page
    from tfbert.comparison.compare import compare
    from tfbert.comparison.systems import load_systems
    from tfbert.config import parse_assignments

    comparison = compare(load_systems(options.models, options.data, parse_assignments(options.set)), options.metric)
    path = options.out or Path("compare.html")
    page.render(comparison, program.command(), path)
    if not sys.stdout.isatty():
        _print_json(comparison.to_json())
        print(path, file=sys.stderr)
        return
    columns, rows = comparison.table()
    table.print_table(columns, rows)
    sentences = [comparison.verdict(), *(map(comparison.sentence, comparison.pairs) if len(rows) > 2 else ())]
    print("", *comparison.warnings, *sentences, *comparison.explanations, "", f"page  {path}", sep="\n")


def _list_runs(options: argparse.Namespace) -> None:
    for name in ("data", "metric", "out", "set"):
        if getattr(options, name):
            raise ValueError(f"--{name}: has no effect without runs or SavedModels to compare; give two or more")
    from tfbert.comparison import leaderboard
    from tfbert.evaluation import formatting

    runs = leaderboard.find_runs(options.runs or RUNS_DIR)
    if not sys.stdout.isatty():
        _print_json(runs.to_json())
        return
    for runs_table in runs.tables():
        print(runs_table.title)
        table.print_table_with_details(runs_table.columns, runs_table.rows, runs_table.num_settings)
        print()
    if runs.unfinished:
        print("unfinished")
        for unfinished in runs.unfinished:
            age = formatting.duration(time.time() - unfinished.changed)
            print(f"{unfinished.path}  {unfinished.state}, last written {age} ago")
            if unfinished.state != "running":
                print(f"  {unfinished.command or 'resumed by the same call of the Python function that started it'}")
    for message in runs.unreadable:
        print(message, file=sys.stderr)


def _print_json(objects: list[dict]) -> None:
    for item in objects:
        print(json.dumps(item, ensure_ascii=False))


def run() -> None:
    """Run the command with the arguments of this process, and exit."""
    program.run("compare", build_parser, main, needs=lambda options: "keras" if options.models else "nothing")
