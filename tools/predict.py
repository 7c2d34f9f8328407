"""Ask a SavedModel, or a server that has it: texts in, one JSON line each out."""

import argparse
import collections
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import common
from tqdm import tqdm


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this tool."""
    parser = argparse.ArgumentParser(prog="predict", description=__doc__)
    parser.add_argument("model", metavar="SAVED_MODEL", help="saved_models/NAME, or one version of it; its name there")
    parser.add_argument("texts", metavar="TEXT", nargs="*", help="a text, or a JSON object with the model's inputs")
    parser.add_argument("--file", metavar="F", help=".csv, .tsv, .jsonl, .json, or a TEXT per line (- for stdin)")
    parser.add_argument("--columns", metavar="INPUT=NAME", help="columns or keys of the inputs, such as text=review")
    parser.add_argument("--set", metavar="data.FIELD=VALUE", action="append", default=[], help="how the file is read")
    parser.add_argument("--server", metavar="HOST:PORT", help="of REST, or grpc://HOST:PORT; nothing is loaded here")
    parser.add_argument("--header", metavar="NAME:VALUE", action="append", default=[], help="sent to the server")
    parser.add_argument("--ca", metavar="FILE", help="certificates for https:// and grpcs:// (default: the system's)")
    parser.add_argument("--version", metavar="N", type=int, help="of the model (default: the highest)")
    parser.add_argument("--batch-size", metavar="N", type=int, default=64, help="texts at once (default: %(default)s)")
    return parser


def main(options: argparse.Namespace) -> None:
    """Stream answers to standard output in the order of the texts."""
    if bool(options.texts) == bool(options.file):
        raise ValueError("wanted either TEXT arguments or --file F, not both and not neither")
    from tfbert.serving import lines
    from tfbert.tasks.base_outputs import without_padding

    data = lines.reading(options.columns, options.set)
    asker = _Remote(options) if options.server else _local(options)
    items = lines.items_of(options.texts, options.file, asker.input_ranks, data)
    answers = asker.answers(items, options.batch_size)
    # Where the answers are on the screen, they show how far it is; and a log file wants no bar.
    for item, answer in tqdm(answers, unit="text", disable=sys.stdout.isatty() or None):
        sys.stdout.write(json.dumps({**item, **without_padding(item, answer)}, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _local(options: argparse.Namespace):
    from tfbert.serving.saved_predictor import SavedPredictor

    # Whoever writes lines into a pipe may wait for their answers before the next.
    num_pooled = 16 if options.file and Path(options.file).is_file() else 1
    return SavedPredictor(Path(options.model), options.version, num_pooled)


class _Remote:
    def __init__(self, options: argparse.Namespace):
        from tfbert.serving.client import Client

        for header in options.header:
            if not all(header.partition(":")):
                raise ValueError(f"--header '{header}': wanted NAME:VALUE")
        parts = (header.partition(":") for header in options.header)
        self.client = Client(
            options.server,
            options.model,
            version=options.version,
            batch_size=options.batch_size,
            headers={name.strip().lower(): value.strip() for name, _, value in parts},
            ca_path=options.ca,
        )
        self.input_ranks = self.client.input_ranks()

    def answers(self, items, batch_size: int) -> Iterator[tuple[dict, dict]]:
        """Yield each item with its answer."""
        asked: collections.deque = collections.deque()
        for answer in self.client.predict(item for item in items if asked.append(item) is None):
            yield asked.popleft(), dict(sorted(answer.items())) if isinstance(answer, dict) else {"output": answer}


if __name__ == "__main__":
    common.run(main, build_parser(), lambda options: "nothing" if options.server else "tensorflow")
