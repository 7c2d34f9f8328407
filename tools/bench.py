"""Measure tfbert on public data sets and print the table."""

import argparse
from pathlib import Path

import common

HELP = {
    "quality": "test scores next to those of a peer",
    "transfer": "what pretraining is worth to tasks",
    "search": "what a search is worth",
    "prepare": "speed of preparing a corpus",
    "pretrain": "speed of learning from one",
    "train": "speed of an epoch of fine-tuning",
    "serve": "speed of answers inside one process",
    "predict": "speed of answering a file of texts",
    "load": "servers under load",
    "soak": "our server's memory under a long load while versions change",
}


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this tool."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    said = "; ".join(f"{what}: {words}" for what, words in HELP.items())
    parser.add_argument("what", choices=list(HELP), help=said)
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
    from tfbert.bench import (
        load,
        prediction,
        preparation,
        pretraining,
        quality,
        search,
        serve,
        soak,
        training,
        transfer,
    )

    if not options.data.is_dir():
        raise ValueError(f"--data {options.data}: is no directory; wanted the one that holds the data sets")
    for name in ("seeds", "lines", "seconds", "requests", "swaps"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} {value}: wanted 1 or more")
    data, out, only, seeds = options.data, options.out, options.only, options.seeds
    soaking = (options.requests, options.swaps)
    subjects = {
        "quality": (quality, lambda: quality.measure(data, out, only, options.repeat, seeds)),
        "transfer": (transfer, lambda: transfer.measure(data, out / "transfer", only, seeds or 5)),
        "search": (search, lambda: search.measure(data, out / "search", only, seeds or 5)),
        "prepare": (preparation, lambda: preparation.measure(data, out / "prepare")),
        "pretrain": (pretraining, lambda: pretraining.measure(data, out / "pretrain", seeds or 3)),
        "train": (training, lambda: training.measure(data, out / "train", only, seeds or 3)),
        "serve": (serve, lambda: serve.measure(data, out, options.model, serve.Plan(num_blocks=seeds or 5))),
        "predict": (
            prediction,
            lambda: prediction.measure(data, out, options.model, options.lines, seeds or 3),
        ),
        "load": (load, lambda: load.measure(data, out, options.model, options.seconds)),
        "soak": (soak, lambda: soak.measure(data, out, options.model, *soaking)),
    }
    subject, measure = subjects[options.what]
    print(subject.to_markdown(measure()))


if __name__ == "__main__":
    common.run(main, build_parser())
