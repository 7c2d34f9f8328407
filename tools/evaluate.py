"""Evaluate a run or a SavedModel on labelled data: print metrics with confidence intervals as JSON."""

import argparse
import json
from pathlib import Path

import common


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this tool."""
    parser = argparse.ArgumentParser(prog="evaluate", description=__doc__)
    parser.add_argument(
        "model", metavar="RUN_OR_SAVED_MODEL", type=Path, help="run directory, or saved_models/NAME[/VERSION]"
    )
    parser.add_argument(
        "--data", metavar="PATH", required=True, help="a labelled file, or a directory with a test split"
    )
    parser.add_argument("--set", metavar="data.FIELD=VALUE", action="append", default=[], help="how to read the data")
    return parser


def main(options: argparse.Namespace) -> None:
    """Evaluate and print the metrics."""
    from tfbert.config import parse_assignments
    from tfbert.serving.evaluate import evaluate

    report = evaluate(options.model, options.data, parse_assignments(options.set))
    print(json.dumps(report, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    common.run(main, build_parser())
