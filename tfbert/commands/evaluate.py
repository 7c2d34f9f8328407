"""Evaluate a run or a SavedModel on labelled data: print metrics with confidence intervals.

They are printed as tables on a terminal, otherwise as JSON.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfbert.commands import program
from tfbert.commands.table import print_table

_MAX_LABELS = 20


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
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
    if sys.stdout.isatty():
        print_report(report)
    else:
        print(json.dumps(report, indent=2, ensure_ascii=False))


def print_report(report: Mapping[str, Any]) -> None:
    """Print the metrics as a table, and the scores of the labels as another one, those with the lowest F1 first."""
    from tfbert.evaluation.formatting import words

    print(f"{report['model']} on {report['num_examples']:,} examples of {report['data']}\n")
    metrics = report["metrics"].items()
    rows = [(words(n), *(f"{score[key]:.4f}" for key in ("value", "low", "high"))) for n, score in metrics]
    print_table(["metric", "score", "95 % from", "to"], rows)
    labels = report["per_label"]
    if not labels:
        return
    columns = [name for name, value in next(iter(labels.values())).items() if isinstance(value, int | float)]
    ranked = sorted(labels.items(), key=lambda pair: pair[1].get("f1", 0.0))
    rows = [(label, *(_number(scores[name]) for name in columns)) for label, scores in ranked[:_MAX_LABELS]]
    print()
    print_table(["label", *map(words, columns)], rows)
    if len(labels) > _MAX_LABELS:
        print(f"and {len(labels) - _MAX_LABELS:,} more; to print all of them as JSON, add: | cat")


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def run() -> None:
    """Run the command with the arguments of this process, and exit."""
    program.run("evaluate", build_parser, main)
