"""Evaluate a run, a SavedModel or a Hugging Face model on labelled data: print metrics with confidence intervals.

With --robustness, also measure how predictions change with typing errors and other changes of the texts that keep their
labels. Results are printed as tables on a terminal, otherwise as one line of JSON.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfbert.commands import program
from tfbert.commands.audit_view import print_audit
from tfbert.commands.robustness_view import print_robustness
from tfbert.commands.table import print_table

if TYPE_CHECKING:  # They import TensorFlow, for which --help should not wait.
    from tfbert.audit.run import Audit
    from tfbert.serving.evaluate import LabelledPredictions
    from tfbert.tasks.base import FittedTask

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
    parser.add_argument("--audit", action="store_true", help="audit groups, swapped identity terms and shortcuts")
    parser.add_argument("--group-column", metavar="COLUMN", help="with --audit: column with the group of each text")
    terms_help = "with --audit: list of identity terms instead of the built-in ones, a file or the name of one of them"
    parser.add_argument("--groups", metavar="FILE", help=terms_help)
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

    _check_dependent_options(options)
    values = parse_assignments(options.set) | program.given_values(options)
    require = {"require": require_editable} if options.robustness else {}
    audit = robustness = None
    if options.audit:
        predictions, audit = audited(options, values, **require)
    else:
        predictions = predict_labelled(options.model, options.data, values, options.task, **require)
    report = {"model": options.model, "data": options.data, **predictions.scores()}
    if audit is not None:
        report["audit"] = audit.to_json()
    if options.robustness:
        limit = {"max_examples": options.max_examples} if options.max_examples else {}
        robustness = measure(predictions, **limit)
        report["robustness"] = robustness.to_json()
    if not sys.stdout.isatty():
        print(json.dumps(report, ensure_ascii=False))
        return
    print_report(report, {metric.name: metric.title for metric in predictions.task.metrics})
    if audit is not None:
        print_audit(audit)
    if robustness is not None:
        print_robustness(robustness)


def _check_dependent_options(options: argparse.Namespace) -> None:
    """Reject options without the one that they belong to, and a number of examples below 1."""
    for name, owner in (("max_examples", "robustness"), ("group_column", "audit"), ("groups", "audit")):
        value = getattr(options, name)
        if value is not None and not getattr(options, owner):
            raise ValueError(f"--{name.replace('_', '-')} {value}: expected it together with --{owner}")
    if options.max_examples is not None and options.max_examples < 1:
        raise ValueError(f"--max-examples {options.max_examples}: expected 1 or more")


def audited(
    options: argparse.Namespace, values: dict[str, Any], **require: Callable[["FittedTask"], None]
) -> tuple["LabelledPredictions", "Audit"]:
    """Return the predictions for the labelled data and their audit.

    Args:
        options: the parsed command line, with `--audit`.
        values: config paths of `data` and their values.
        require: as for `audit_model`.

    Raises:
        ValueError: an option, the model or the data cannot be used.
    """
    from tfbert.audit.run import audit_model

    if options.task is not None:
        raise ValueError(f"--task {options.task}: Hugging Face models cannot be audited; export the model first")
    if options.group_column is not None:
        if "data.group_column" in values:
            raise ValueError("--group-column and --set data.group_column: both set the same; expected one of them")
        values = {**values, "data.group_column": options.group_column}
    return audit_model(Path(options.model), options.data, values, options.groups, **require)


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
