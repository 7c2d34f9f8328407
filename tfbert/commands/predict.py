"""Predict texts with a SavedModel, in this process or on a server, or with a run.

They are printed for reading on a terminal, as JSON lines otherwise, or written to a file with --out.
"""

import argparse
import collections
import functools
import sys
from pathlib import Path

from tqdm import tqdm

from tfbert.commands import explaining, program
from tfbert.files import REPORT

_BATCH_SIZE, _EXPLAINED_BATCH_SIZE = 64, 16


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="saved_models/NAME[/VERSION], a run, or a name on the server")
    parser.add_argument("texts", metavar="TEXT", nargs="*", help="a text, or a JSON object with the model's inputs")
    parser.add_argument("--file", metavar="FILE", help="table, JSON, or one TEXT per line (- for stdin)")
    program.add_format_argument(parser)
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="write a new .csv, .tsv or .jsonl: the columns of --file, then outputs"
    )
    parser.add_argument("--top", metavar="K", type=int, help="only the K most probable labels, with their names")
    parser.add_argument(
        "--explain",
        metavar="METHOD",
        nargs="?",
        const=explaining.DEFAULT,
        type=explaining.method,
        help=f"explain predictions word by word: {', '.join(explaining.METHODS)}",
    )
    parser.add_argument("--label", metavar="LABEL", help="label to explain (default: the predicted one)")
    parser.add_argument("--columns", metavar="INPUT=NAME", help="columns or keys of the inputs, such as text=review")
    parser.add_argument("--set", metavar="data.FIELD=VALUE", action="append", default=[], help="how to read the file")
    parser.add_argument("--server", metavar="ADDRESS", help="server to use: HOST:PORT for REST, or grpc://HOST:PORT")
    parser.add_argument("--header", metavar="NAME:VALUE", action="append", default=[], help="sent to the server")
    parser.add_argument(
        "--ca", metavar="FILE", help="CA certificates for https:// and grpcs:// (default: the system's)"
    )
    parser.add_argument("--version", metavar="N", type=int, help="version of the model (default: the highest)")
    parser.add_argument(
        "--batch-size",
        metavar="N",
        type=int,
        help=f"texts per batch (default: {_BATCH_SIZE}; with --explain {_EXPLAINED_BATCH_SIZE})",
    )
    return parser


def main(options: argparse.Namespace) -> None:
    """Write predictions to standard output or a file, in the order of the texts.

    Raises:
        ValueError: the options, the model or the texts cannot be used.
    """
    if bool(options.texts) == bool(options.file):
        raise ValueError("give either TEXT arguments or --file")
    from tfbert.commands import prediction_output
    from tfbert.serving import requests
    from tfbert.serving.prediction_file import PredictionFile

    _check_explanation(options)
    if options.batch_size is None:
        options.batch_size = _BATCH_SIZE if options.explain is None else _EXPLAINED_BATCH_SIZE
    given = [f"{path}={value}" for path, value in program.given_values(options).items()]
    data = requests.data_config(options.columns, [*options.set, *given])
    file = None if options.out is None else PredictionFile(options.out, options.file or "TEXT")
    model = _load_model(options)
    rows: collections.deque = collections.deque()

    def items():
        for request in requests.read_requests(options.texts, options.file, model.inputs, data):
            rows.append(request.cells)
            yield request.item

    # No progress bar where predictions appear on the screen, nor in a log file.
    is_shown = file is None and sys.stdout.isatty()
    if options.explain is None:
        predictions, lines = model.predict(items()), None
    else:
        predictions = explaining.explain(model, items(), options.explain, options.label or "")
        lines = explaining.explanation_lines
    with prediction_output.opened(file, model.labels, options.top, lines) as write:
        for item, outputs in tqdm(predictions, unit=" texts", disable=is_shown or None):
            write(item, rows.popleft(), outputs)


def _check_explanation(options: argparse.Namespace) -> None:
    """Reject options that would have no effect."""
    if options.label is not None and options.explain is None:
        raise ValueError(f"--label '{options.label}': is the label to explain; expected --explain too")
    if options.top is not None and options.explain is not None:
        raise ValueError(f"--top {options.top}: expected no --explain, which returns words")


def _load_model(options: argparse.Namespace) -> explaining.LoadedModel:
    """Return the model that predicts."""
    if options.server:
        return _connect(options)
    from tfbert.serving.label_probabilities import PROBABILITIES

    # A program that writes lines into a pipe may wait for each prediction, so do not read ahead.
    num_pooled = 16 if options.file and Path(options.file).is_file() else 1
    model = (_load_run if _is_run(options) else _load_saved_model)(options, num_pooled)
    if options.top is not None and (options.top < 1 or PROBABILITIES not in model.outputs):
        expected = "1 or more" if options.top < 1 else f"a model with {PROBABILITIES}, unlike {options.model}"
        raise ValueError(f"--top {options.top}: expected {expected}")
    return model


def _load_saved_model(options: argparse.Namespace, num_pooled: int) -> explaining.LoadedModel:
    from tfbert.serving.label_probabilities import read_labels
    from tfbert.serving.saved_predictor import SavedPredictor

    saved = SavedPredictor(Path(options.model), options.version, num_pooled)
    return explaining.LoadedModel(
        name=options.model,
        inputs=saved.inputs,
        outputs=[output.name for output in saved.outputs],
        labels=read_labels(saved.version_dir),
        predict=functools.partial(saved.predict, batch_size=options.batch_size),
        explain=functools.partial(saved.explain, batch_size=options.batch_size),
    )


def _load_run(options: argparse.Namespace, num_pooled: int) -> explaining.LoadedModel:
    from tfbert.explanation.explainer import Explainer
    from tfbert.models.predictions import predict_items
    from tfbert.models.saved_run import load_run
    from tfbert.serving.input_spec import InputSpec

    if options.version is not None:
        raise ValueError(f"--version {options.version}: {options.model} is a run; expected a SavedModel")
    run = load_run(Path(options.model))

    def explain(items, label, method):
        return Explainer(run.predictor).explain(items, label, method, options.batch_size, num_pooled)

    return explaining.LoadedModel(
        name=options.model,
        inputs={name: InputSpec.of(spec) for name, spec in run.predictor.specs.items()},
        outputs=[output.name for output in run.task.outputs],
        labels=run.task.known_labels,
        predict=functools.partial(
            predict_items, run.predictor, run.task.outputs, batch_size=options.batch_size, num_pooled=num_pooled
        ),
        explain=explain,
    )


def _is_run(options: argparse.Namespace) -> bool:
    """Return whether the model is a run or a search, which needs Keras."""
    return not options.server and (Path(options.model) / REPORT).exists()


def _connect(options: argparse.Namespace) -> explaining.LoadedModel:
    from tfbert.serving.client import Client
    from tfbert.serving.remote_predictor import RemotePredictor, parse_headers

    if options.top is not None:
        raise ValueError(f"--top {options.top}: a server does not send the labels; expected a SavedModel, no --server")
    client = Client(
        options.server,
        options.model,
        version=options.version,
        batch_size=options.batch_size,
        headers=parse_headers(options.header),
        ca_path=options.ca,
    )
    predictor = RemotePredictor(client)
    return explaining.LoadedModel(options.model, predictor.inputs, (), (), predictor.predict, predictor.explain)


def run() -> None:
    """Run the command with the arguments of this process, and exit."""

    def needs(options: argparse.Namespace) -> str:
        return "nothing" if options.server else "keras" if _is_run(options) else "tensorflow"

    program.run("predict", build_parser, main, needs)
