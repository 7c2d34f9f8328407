"""Predict texts with a SavedModel, in this process or on a server, and print one JSON object per line."""

import argparse
import functools
import json
import re
import sys
from pathlib import Path

from tqdm import tqdm

from tfbert.commands import program

# JSON escapes can produce lone surrogates, which cannot be written as UTF-8.
_SURROGATE = re.compile("[\ud800-\udfff]")


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("model", metavar="SAVED_MODEL", help="saved_models/NAME[/VERSION], or its name on the server")
    parser.add_argument("texts", metavar="TEXT", nargs="*", help="a text, or a JSON object with the model's inputs")
    parser.add_argument("--file", metavar="FILE", help=".csv, .tsv, .jsonl, .json, or one TEXT per line (- for stdin)")
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
    """Stream predictions to standard output in the order of the texts.

    Raises:
        ValueError: the options, the model or the texts cannot be used.
    """
    if bool(options.texts) == bool(options.file):
        raise ValueError("give either TEXT arguments or --file")
    from tfbert.serving import requests

    data = requests.data_config(options.columns, options.set)
    inputs, predict = _predictor(options)
    predictions = predict(requests.read_items(options.texts, options.file, inputs, data))
    # No progress bar where predictions appear on the screen, nor in a log file.
    for item, outputs in tqdm(predictions, unit="text", disable=sys.stdout.isatty() or None):
        line = json.dumps({**item, **outputs}, ensure_ascii=False)
        sys.stdout.write(_SURROGATE.sub("\ufffd", line) + "\n")
    sys.stdout.flush()


def _predictor(options: argparse.Namespace):
    """Return the inputs of the model, and a function that yields items with their predictions without padding."""
    if options.server:
        from tfbert.serving.client import Client
        from tfbert.serving.remote_predictor import RemotePredictor, parse_headers

        client = Client(
            options.server,
            options.model,
            version=options.version,
            batch_size=options.batch_size,
            headers=parse_headers(options.header),
            ca_path=options.ca,
        )
        predictor = RemotePredictor(client)
        return predictor.inputs, predictor.predict
    from tfbert.serving.saved_predictor import SavedPredictor

    # A program that writes lines into a pipe may wait for each prediction, so do not read ahead.
    num_pooled = 16 if options.file and Path(options.file).is_file() else 1
    saved = SavedPredictor(Path(options.model), options.version, num_pooled)
    return saved.inputs, functools.partial(saved.predict, batch_size=options.batch_size)


def run() -> None:
    """Run the command with the arguments of this process, and exit."""
    program.run("predict", build_parser, main, needs=lambda options: "nothing" if options.server else "tensorflow")
