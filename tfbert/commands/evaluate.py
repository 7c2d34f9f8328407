"""Evaluate a run, a SavedModel or a Hugging Face model on labelled data: print metrics and intervals as JSON."""

import argparse
import json

from tfbert.commands import program


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    model_help = "run directory, saved_models/NAME[/VERSION], or a fine-tuned BERT in Hugging Face's layout"
    parser.add_argument("model", metavar="MODEL", help=model_help)
    parser.add_argument(
        "--data", metavar="PATH", required=True, help="a labelled file, or a directory with a test split"
    )
    parser.add_argument("--task", help="task of a Hugging Face model (default: derived from its config)")
    parser.add_argument("--set", metavar="data.FIELD=VALUE", action="append", default=[], help="how to read the data")
    return parser


def main(options: argparse.Namespace) -> None:
    """Evaluate and print the metrics."""
    from tfbert.config import parse_assignments
    from tfbert.serving.evaluate import evaluate

    report = evaluate(options.model, options.data, parse_assignments(options.set), options.task)
    print(json.dumps(report, indent=2, ensure_ascii=False))


def run() -> None:
    """Run the command with the arguments of this process, and exit."""
    program.run("evaluate", build_parser, main)
