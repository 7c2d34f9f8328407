"""Measure tfbert on public data sets and print the table."""

import argparse
from pathlib import Path

import common


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this tool."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "what",
        choices=["quality", "transfer", "search", "prepare", "pretrain"],
        help="test scores next to those of a peer, what pretraining or a search is worth to tasks, or speed of "
        "preparing a corpus or of learning from it",
    )
    parser.add_argument("--data", metavar="DIR", type=Path, required=True, help="directory with the data sets")
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="a row of the table, or a corpus")
    parser.add_argument("--out", metavar="DIR", type=Path, default=common.RUNS_DIR / "bench", help="for runs and JSON")
    parser.add_argument(
        "--seeds",
        metavar="K",
        type=int,
        help="trainings of a row at most (default: quality as the row says, transfer and search 5), or repeats (3)",
    )
    parser.add_argument("--repeat", action="store_true", help="train all twice and compare the weights")
    return parser


def main(options: argparse.Namespace) -> None:
    """Print the table."""
    from tfbert.bench import preparation, pretraining, quality, search, transfer

    if not options.data.is_dir():
        raise ValueError(f"--data {options.data}: is no directory; wanted the one that holds the data sets")
    if options.seeds is not None and options.seeds < 1:
        raise ValueError(f"--seeds {options.seeds}: wanted 1 or more")
    if options.what == "quality":
        rows = quality.measure(options.data, options.out, options.only, options.repeat, options.seeds)
        print(quality.to_markdown(rows))
    elif options.what == "transfer":
        rows = transfer.measure(options.data, options.out / "transfer", options.only, options.seeds or 5)
        print(transfer.to_markdown(rows))
    elif options.what == "search":
        rows = search.measure(options.data, options.out / "search", options.only, options.seeds or 5)
        print(search.to_markdown(rows))
    elif options.what == "prepare":
        print(preparation.to_markdown(preparation.measure(options.data, options.out / "prepare")))
    else:
        rows = pretraining.measure(options.data, options.out / "pretrain", options.seeds or 3)
        print(pretraining.to_markdown(rows))


if __name__ == "__main__":
    common.run(main, build_parser())
