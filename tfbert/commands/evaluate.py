"""Evaluate a run, a SavedModel or a Hugging Face model on labelled data: print metrics with confidence intervals.

With --robustness, also measure how predictions change with typing errors and other changes of the texts that keep their
labels. Results are printed as tables on a terminal, otherwise as one line of JSON.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from tfbert.commands import program
from tfbert.commands.robustness_view import print_robustness
from tfbert.commands.table import print_table

_MAX_LABELS = 20


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    model_help = "run directory, saved_models/NAME[/VERSION], or a fine-tuned BERT in Hugging Face's layout"
    parser.add_argument("model", metavar="MODEL", help=model_help)
    parser.add_argument(
        "--data", metavar="PATH", required=True, help="a labelled file, or a directory with a test split"
    )
    program.add_format_argument(parser)
    parser.add_argument("--task", help="task of a Hugging Face model (default: derived from its config)")
    parser.add_argument(
        "--robustness",
        action="store_true",
        help="also predict perturbed texts (typing errors, punctuation, ...), and search for misleading edits",
    )
    parser.add_argument(
        "--max-examples", metavar="N", type=int, help="maximum number of examples for --robustness (default: 1000)"
    )
    parser.add_argument("--set", metavar="data.FIELD=VALUE", action="append", default=[], help="how to read the data")
    return parser


def main(options: argparse.Namespace) -> None:
    """Evaluate and print the metrics.

    Raises:
        ValueError: an option, the model or the data cannot be used.
    """
    from tfbert.config import parse_assignments
    from tfbert.robustness.measure import measure, require_editable
    from tfbert.serving.evaluate import predict_labelled

    if options.max_examples is not None and (not options.robustness or options.max_examples < 1):
        expected = "1 or more" if options.robustness else "it together with --robustness"
        raise ValueError(f"--max-examples {options.max_examples}: expected {expected}")
    values = parse_assignments(options.set) | program.given_values(options)
    require = {"require": require_editable} if options.robustness else {}
    predictions = predict_labelled(options.model, options.data, values, options.task, **require)
    report, robustness = {"model": options.model, "data": options.data, **predictions.scores()}, None
    if options.robustness:
        limit = {"max_examples": options.max_examples} if options.max_examples else {}
        robustness = measure(predictions, **limit)
        report["robustness"] = robustness.to_json()
    if not sys.stdout.isatty():
        print(json.dumps(report, ensure_ascii=False))
        return
    print_report(report, {metric.name: metric.title for metric in predictions.task.metrics})
    if robustness:
        print_robustness(robustness)


def print_report(report: Mapping[str, Any], titles: Mapping[str, str]) -> None:
    """Print the metrics as a table, and the scores of the labels as another one, those with the lowest F1 first.

    Args:
        report: what the command prints as JSON.
        titles: the titles of the metrics by name.
    """
    from tfbert.evaluation.formatting import words

    print(f"{report['model']} on {report['num_examples']:,} examples of {report['data']}\n")
    metrics = report["metrics"].items()
    rows = [
        (titles.get(n, words(n)), *(f"{score[key]:.4f}" for key in ("value", "low", "high"))) for n, score in metrics
    ]
    print_table(["metric", "score", "95% from", "to"], rows)
    labels = report["per_label"]
    if not labels:
        return
    columns = [name for name, value in next(iter(labels.values())).items() if isinstance(value, int | float)]
    ranked = sorted(labels.items(), key=lambda pair: pair[1].get("f1", 0.0))
    rows = [(label, *(_number(scores[name]) for name in columns)) for label, scores in ranked[:_MAX_LABELS]]
    print()
    print_table(["label", *(words(name.removeprefix("num_")) for name in columns)], rows)
    if len(labels) > _MAX_LABELS:
        print(f"and {len(labels) - _MAX_LABELS:,} more; to print all of them as JSON, add: | cat")


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def run() -> None:
    """Run the command with the arguments of this process, and exit."""
    program.run("evaluate", build_parser, main)
