"""Pretrain BERT on text, from an existing encoder or from scratch; the result is an encoder for train."""

import argparse
from pathlib import Path

from tfbert.commands import listing, program
from tfbert.files import ENCODER, RUNS_DIR


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=["train", "vocabulary", "prepare"],
        default="train",
        help="train an encoder (default), train only its vocabulary, or only prepare token sequences for many runs",
    )
    parser.add_argument("--corpus", metavar="PATH", nargs="+", help="files or directories (default: a small sample)")
    parser.add_argument("--prepared", metavar="DIR", help="sequences made by `prepare`, instead of --corpus")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--encoder", metavar="NAME_OR_DIR", help="encoder to start from, as in train --list")
    start.add_argument("--from-scratch", action="store_true", help="start from a new encoder of the sizes in encoder.*")
    parser.add_argument("--vocabulary", metavar="FILE", help="vocabulary of a new encoder (default: train one)")
    parser.add_argument("--size", metavar="N", type=int, help="number of tokens of a trained vocabulary")
    parser.add_argument("--out", metavar="PATH", type=Path, help="run directory, or file to write for `vocabulary`")
    parser.add_argument("--show", metavar="N", type=int, help="print N sequences with their masks; do not train")
    parser.add_argument("--seed", metavar="N", type=int, help="random seed for weights, data order, masks and dropout")
    parser.add_argument("--config", metavar="FILE", type=Path, help="config.json of an earlier run")
    parser.add_argument("--set", metavar="SECTION.FIELD=VALUE", action="append", default=[], help="any field in --list")
    parser.add_argument("--allow-code", action="store_true", help="let --set examples.segmenter=MODULE:FUNCTION run")
    parser.add_argument("--list", action="store_true", help="print the config fields and exit")
    parser.add_argument(
        "--beam", metavar="OPTIONS", nargs="?", const="", help="prepare with Apache Beam and these options for it"
    )
    return parser


def read_config(options: argparse.Namespace):
    """Return the config: defaults, then --config, then --set and the other options."""
    from tfbert.pretraining.config import read_config

    values = {
        "corpus.paths": tuple(options.corpus) if options.corpus else None,
        "prepared": options.prepared,
        "encoder.name": options.encoder,
        "encoder.vocabulary": options.vocabulary,
        "encoder.vocabulary_size": options.size,
        "train.seed": options.seed,
    }
    values = {path: value for path, value in values.items() if value is not None}
    values |= {"encoder.name": None} if options.from_scratch else {}
    return read_config(options.config, options.set, values, options.allow_code)


def main(options: argparse.Namespace) -> None:
    """Run the command and print its result."""
    if options.list:
        listing.print_pretraining_list()
        return
    config = read_config(options)
    from tfbert.api import jobs
    from tfbert.pretraining import commands, run

    if options.what == "vocabulary":
        print(commands.vocabulary(config, options.out))
    elif options.what == "prepare":
        print(commands.prepare(config, options.out, options.beam, options.show or 0))
    else:
        run_dir = options.out or run.choose_run_dir(config, RUNS_DIR)
        if options.show:
            print(commands.show(config, run_dir, options.show))
        elif (report := jobs.pretrain_config(config, run_dir, program.command())) is None:
            print("done; the chief has the report")
        else:
            command = program.suggestion("train", "--encoder", str(run_dir / ENCODER))
            print(f"{commands.describe_result(report, run_dir)}  ({command})")


def run() -> None:
    """Run the command with the arguments of this process, and exit."""
    program.run("pretrain", build_parser, main, resumes=True)
