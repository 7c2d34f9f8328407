"""Measure tfbert on public data sets and print the table."""

import argparse
import importlib
from pathlib import Path

import common

# What is measured, the module that does it, and how it is called.
TABLES = {
    "quality": ("quality", lambda t, o: t.measure(o.data, o.out, o.only, o.repeat, o.seeds)),
    "transfer": ("transfer", lambda t, o: t.measure(o.data, o.out / "transfer", o.only, o.seeds or 5)),
    "search": ("search", lambda t, o: t.measure(o.data, o.out / "search", o.only, o.seeds or 5)),
    "prepare": ("preparation", lambda t, o: t.measure(o.data, o.out / "prepare")),
    "pretrain": ("pretraining", lambda t, o: t.measure(o.data, o.out / "pretrain", o.seeds or 3)),
    "train": ("training", lambda t, o: t.measure(o.data, o.out / "train", o.only, o.seeds or 3)),
    "serve": ("serve", lambda t, o: t.measure(o.data, o.out, o.model, t.Plan(num_blocks=o.seeds or 5))),
    "predict": ("prediction", lambda t, o: t.measure(o.data, o.out, o.model, o.lines, o.seeds or 3)),
    "load": ("load", lambda t, o: t.measure(o.data, o.out, o.model, o.seconds)),
    "soak": ("soak", lambda t, o: t.measure(o.data, o.out, o.model, o.requests, o.swaps)),
}
# What is drawn, besides, and how many of it a second.
DRAWN = {"pretrain": "tokens", "train": "examples", "serve": "texts", "predict": "lines", "load": "requests"}
HELP = """quality: test scores next to those of a peer; transfer: what pretraining is worth to tasks; search: what a
search is worth; prepare, pretrain, train: speed of preparing a corpus, of learning from it, and of fine-tuning; serve:
of answers inside one process; predict: of a file of texts; load: servers under load; soak: our server's memory under a
long load while versions change"""


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this tool."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("what", choices=list(TABLES), help=HELP)
    parser.add_argument("--data", metavar="DIR", type=Path, required=True, help="directory with the data sets")
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="a row of the table, or a corpus")
    parser.add_argument("--out", metavar="DIR", type=Path, default=common.RUNS_DIR / "bench", help="for runs and JSON")
    parser.add_argument(
        "--seeds",
        metavar="K",
        type=int,
        help="trainings of a row at most (default: quality as the row says, transfer and search 5), or repeats "
        "(train, pretrain and predict 3, serve 5)",
    )
    parser.add_argument("--repeat", action="store_true", help="train all twice and compare the weights")
    parser.add_argument("--model", metavar="RUN", type=Path, help="classification that serve, predict, load, soak ask")
    parser.add_argument("--lines", metavar="N", type=int, default=100_000, help="of predict (default: 100000)")
    parser.add_argument("--seconds", metavar="S", type=float, default=60.0, help="of a row of load (default: 60)")
    parser.add_argument("--requests", metavar="N", type=int, default=100_000, help="of soak (default: 100000)")
    parser.add_argument("--swaps", metavar="N", type=int, default=50, help="of versions in soak (default: 50)")
    return parser


def main(options: argparse.Namespace) -> None:
    """Print the table."""
    if not options.data.is_dir():
        raise ValueError(f"--data {options.data}: is no directory; wanted the one that holds the data sets")
    for name in ("seeds", "lines", "seconds", "requests", "swaps"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} {value}: wanted 1 or more")
    module, measure = TABLES[options.what]
    table = importlib.import_module(f"tfbert.bench.{module}")
    rows = measure(table, options)
    print(table.to_markdown(rows))
    if options.what in DRAWN:
        path = options.out / f"{options.what}.svg"
        picture = importlib.import_module("tfbert.bench.picture")
        picture.draw(table.speeds(rows), f"{DRAWN[options.what]} a second", path)
        print(f"\n{path}")


if __name__ == "__main__":
    common.run(main, build_parser())
