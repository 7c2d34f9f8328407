"""Ask a SavedModel: texts in, one JSON line each out."""

import argparse
import json
import sys
from pathlib import Path

import common


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this tool."""
    parser = argparse.ArgumentParser(prog="predict", description=__doc__)
    parser.add_argument("model", metavar="SAVED_MODEL", type=Path, help="saved_models/NAME, or one version of it")
    parser.add_argument("texts", metavar="TEXT", nargs="*", help="to ask; a JSON object where there are several inputs")
    parser.add_argument("--file", metavar="F", help="a text, or such an object, a line; - for standard input")
    parser.add_argument("--version", metavar="N", type=int, help="of the model (default: the highest)")
    parser.add_argument("--batch-size", metavar="N", type=int, default=64, help="texts at once (default: %(default)s)")
    return parser


def main(options: argparse.Namespace) -> None:
    """Stream answers to standard output in the order of the texts."""
    if bool(options.texts) == bool(options.file):
        raise ValueError("wanted either TEXT arguments or --file F, not both and not neither")
    from tfbert.serving.predictor import Predictor, read_lines

    predictor = Predictor(options.model, options.version)
    lines = options.texts or read_lines(options.file)
    place = options.file or "TEXT"
    items = (predictor.item_of(line, f"{place}:{number}") for number, line in enumerate(lines, 1))
    for item, answer in predictor.answers(items, options.batch_size):
        sys.stdout.write(json.dumps({**item, **answer}, ensure_ascii=False) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    common.run(main, build_parser())
