"""Evaluate a run or a SavedModel on labelled data: print metrics with confidence intervals as JSON."""

import argparse
import json
from pathlib import Path

from tfbert.commands import program


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument(
        "model", metavar="RUN_OR_SAVED_MODEL", type=Path, help="run directory, or saved_models/NAME[/VERSION]"
    )
    parser.add_argument(
        "--data", metavar="PATH", required=True, help="a labelled file, or a directory with a test split"
    )
    program.add_format_argument(parser)
    parser.add_argument("--set", metavar="data.FIELD=VALUE", action="append", default=[], help="how to read the data")
    return parser


def main(options: argparse.Namespace) -> None:
    """Evaluate and print the metrics."""
    from tfbert.config import parse_assignments
    from tfbert.serving.evaluate import evaluate

    values = {"data.format": options.format} if options.format else {}
    report = evaluate(options.model, options.data, parse_assignments(options.set) | values)
    print(json.dumps(report, indent=2, ensure_ascii=False))


def run() -> None:
    """Run the command with the arguments of this process, and exit."""
    program.run("evaluate", build_parser, main)
