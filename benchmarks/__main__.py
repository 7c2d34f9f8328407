"""Measure tfbert next to other libraries on public data sets and print the table: `python -m benchmarks`."""

import argparse
import importlib
import logging
from pathlib import Path

from benchmarks.options import Options
from benchmarks.tables import circumstances
from tfbert.commands import program

# Each is a module of this folder with a function `measure`.
BENCHMARKS = {
    "quality": "test scores next to a baseline or to transformers",
    "defaults": "test scores of the default settings on development sets of different kinds and sizes",
    "trust": "calibration, guarantees and out-of-domain detection",
    "robustness": "accuracy on perturbed texts, with and without noise in training",
    "train": "speed and memory of fine-tuning next to transformers and KerasNLP",
    "serve": "latency and throughput inside one process next to onnxruntime and PyTorch",
    "explain": "faithfulness of explanations, and the rank of planted words",
    "audit": "planted bias: found, mitigated, and not found where there is none",
    "load": "servers under load next to FastAPI and LitServe",
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("what", choices=list(BENCHMARKS), help="; ".join(f"{k}: {v}" for k, v in BENCHMARKS.items()))
    parser.add_argument(
        "--data", metavar="DIR", type=Path, required=True, help="directory with one folder per data set"
    )
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="measure this data set only")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs", "benchmarks"), help="directory for runs and JSON"
    )
    parser.add_argument(
        "--seeds",
        metavar="K",
        type=int,
        help="quality: at most K trainings of each data set; trust, robustness, train, serve: repeats "
        "(default: 3, 3, 3, 5); audit: seeds",
    )
    parser.add_argument(
        "--set", metavar="PATH=VALUE", action="append", default=[], help="defaults: a setting to try instead"
    )
    parser.add_argument(
        "--against", metavar="CHECKOUT", type=Path, help="defaults: another version of tfbert to compare with"
    )
    parser.add_argument(
        "--max-examples", metavar="N", type=int, help="defaults, trust, explain: draw at most N examples to train on"
    )
    parser.add_argument("--repeat", action="store_true", help="quality: train twice and compare the weights")
    parser.add_argument("--model", metavar="RUN", type=Path, help="serve, load: run of a classification")
    parser.add_argument("--seconds", metavar="S", type=float, default=60.0, help="load: seconds per row (default: 60)")
    return parser


def main(options: argparse.Namespace) -> None:
    """Run one benchmark, print its table with the circumstances, and keep it as JSON.

    Raises:
        ValueError: an option is out of range, or data are missing.
    """
    if not options.data.is_dir():
        raise ValueError(f"--data {options.data}: is not a directory; give the one that holds the data sets")
    for name in ("seeds", "seconds", "max_examples"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} {value}: expected 1 or more")
    out_dir = (options.out / options.what).resolve()
    table = importlib.import_module(f"benchmarks.{options.what}").measure(
        Options(
            data_dir=options.data.resolve(),
            out_dir=out_dir,
            only=tuple(options.only),
            repeats=options.seeds,
            check_repeatability=options.repeat,
            run_dir=options.model.resolve() if options.model else None,
            settings=dict(assignment.split("=", 1) for assignment in options.set),
            against=options.against.resolve() if options.against else None,
            max_examples=options.max_examples,
            num_seconds=options.seconds,
        )
    )
    table.write(out_dir / f"{options.what}.json")
    print(f"{table.to_markdown()}\n\n{'; '.join(circumstances().values())}")


if __name__ == "__main__":
    parser = build_parser()
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    # Errors, signals and TensorFlow's startup messages are handled as in the command `tfbert`.
    program.run_main(parser.prog, main, parser.parse_args())
