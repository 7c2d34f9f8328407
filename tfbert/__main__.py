"""Fine-tune BERT, and evaluate, compare, export and serve the result."""

import argparse
import importlib
import sys

import tfbert
from tfbert.nearest import did_you_mean

# The commands, each of which is a module of `tfbert.commands`, and their descriptions.
COMMANDS = {
    "train": "fine-tune BERT on a task, write a report and export a SavedModel",
    "search": "tune the hyperparameters of a task",
    "pretrain": "pretrain BERT on text",
    "check": "check the data of a task without training",
    "evaluate": "evaluate a run or a SavedModel on labelled data",
    "compare": "compare runs and SavedModels on the same records, or list all runs",
    "predict": "predict texts with a SavedModel",
    "export": "export a finished run",
    "serve": "serve SavedModels on this machine",
    "list": "list tasks, encoders and the config fields of a task",
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's name; each command parses its own arguments."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {description}" for name, description in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="tfbert",
        usage="tfbert COMMAND ...",
        description=f"{__doc__}\n\ncommands:\n{listed}",
        epilog="tfbert COMMAND --help prints the options of a command, tfbert --version the version.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tfbert {tfbert.__version__}", help=argparse.SUPPRESS)
    parser.add_argument("command", metavar="COMMAND", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Run the command that the first argument names."""
    parser = build_parser()
    name = parser.parse_args(sys.argv[1:2] or ["--help"]).command
    if name not in COMMANDS:
        parser.error(f"{name!r} is not a command{did_you_mean(name, COMMANDS)}")
    importlib.import_module(f"tfbert.commands.{name}").run()


if __name__ == "__main__":
    main()
