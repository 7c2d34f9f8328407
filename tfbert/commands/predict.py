"""Predict texts with a SavedModel, in this process or on a server, or with a run.

They are printed for reading on a terminal, as JSON lines otherwise, or written to a file with --out.
"""

import argparse
import collections
import functools
import sys
from pathlib import Path

from tqdm import tqdm

from tfbert.commands import program
from tfbert.files import REPORT


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
    parser.add_argument("--columns", metavar="INPUT=NAME", help="columns or keys of the inputs, such as text=review")
    parser.add_argument("--set", metavar="data.FIELD=VALUE", action="append", default=[], help="how to read the file")
    parser.add_argument("--server", metavar="ADDRESS", help="server to use: HOST:PORT for REST, or grpc://HOST:PORT")
    parser.add_argument("--header", metavar="NAME:VALUE", action="append", default=[], help="sent to the server")
    parser.add_argument(
        "--ca", metavar="FILE", help="CA certificates for https:// and grpcs:// (default: the system's)"
    )
    parser.add_argument("--version", metavar="N", type=int, help="version of the model (default: the highest)")
    parser.add_argument(
        "--batch-size", metavar="N", type=int, default=64, help="texts per batch (default: %(default)s)"
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

    given = [f"{path}={value}" for path, value in program.given_values(options).items()]
    data = requests.data_config(options.columns, [*options.set, *given])
    file = None if options.out is None else PredictionFile(options.out, options.file or "TEXT")
    inputs, labels, predict = _predictor(options)
    rows: collections.deque = collections.deque()

    def items():
        for request in requests.read_requests(options.texts, options.file, inputs, data):
            rows.append(request.cells)
            yield request.item

    # No progress bar where predictions appear on the screen, nor in a log file.
    is_shown = file is None and sys.stdout.isatty()
    with prediction_output.opened(file, labels, options.top) as write:
        for item, outputs in tqdm(predict(items()), unit=" texts", disable=is_shown or None):
            write(item, rows.popleft(), outputs)


def _predictor(options: argparse.Namespace):
    """Return the inputs and the labels of the model, and a function that yields items with their predictions."""
    if options.server:
        return _remote_predictor(options)
    from tfbert.serving.label_probabilities import PROBABILITIES

    # A program that writes lines into a pipe may wait for each prediction, so do not read ahead.
    num_pooled = 16 if options.file and Path(options.file).is_file() else 1
    load = _load_run if _is_run(options) else _load_saved_model
    inputs, outputs, labels, predict = load(options, num_pooled)
    if options.top is not None and (options.top < 1 or PROBABILITIES not in (output.name for output in outputs)):
        expected = "1 or more" if options.top < 1 else f"a model with {PROBABILITIES}, unlike {options.model}"
        raise ValueError(f"--top {options.top}: expected {expected}")
    return inputs, labels, predict


def _load_saved_model(options: argparse.Namespace, num_pooled: int):
    from tfbert.serving.label_probabilities import read_labels
    from tfbert.serving.saved_predictor import SavedPredictor

    saved = SavedPredictor(Path(options.model), options.version, num_pooled)
    predict = functools.partial(saved.predict, batch_size=options.batch_size)
    return saved.inputs, saved.outputs, read_labels(saved.version_dir), predict


def _load_run(options: argparse.Namespace, num_pooled: int):
    from tfbert.models.predictions import predict_items
    from tfbert.models.saved_run import load_run
    from tfbert.serving.input_spec import InputSpec

    if options.version is not None:
        raise ValueError(f"--version {options.version}: {options.model} is a run; expected a SavedModel")
    run = load_run(Path(options.model))
    inputs = {name: InputSpec.of(spec) for name, spec in run.predictor.specs.items()}
    predict = functools.partial(
        predict_items, run.predictor, run.task.outputs, batch_size=options.batch_size, num_pooled=num_pooled
    )
    return inputs, run.task.outputs, run.task.known_labels, predict


def _is_run(options: argparse.Namespace) -> bool:
    """Return whether the model is a run or a search, which needs Keras."""
    return not options.server and (Path(options.model) / REPORT).exists()


def _remote_predictor(options: argparse.Namespace):
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
    return predictor.inputs, [], predictor.predict


def run() -> None:
    """Run the command with the arguments of this process, and exit."""

    def needs(options: argparse.Namespace) -> str:
        return "nothing" if options.server else "keras" if _is_run(options) else "tensorflow"

    program.run("predict", build_parser, main, needs)
