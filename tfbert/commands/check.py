"""Check the data of a task without training, and print what training would print before it starts."""

import argparse
from pathlib import Path

from tfbert.commands import program, train


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, epilog="The exit code is 2 if training would reject the data, otherwise 0."
    )
    parser.add_argument("--task", help="task name, as in train --list (default: classification, or that of --config)")
    program.add_data_arguments(parser)
    parser.add_argument(
        "--encoder", metavar="NAME_OR_DIR", help="encoder, as for train; its tokenizer counts the tokens"
    )
    parser.add_argument("--config", metavar="FILE", type=Path, help="config.json of an earlier run")
    parser.add_argument("--set", metavar="SECTION.FIELD=VALUE", action="append", default=[], help="any config field")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the results to this file")
    return parser


def main(options: argparse.Namespace) -> None:
    """Print what training would print before it starts, and a table of warnings.

    Raises:
        ValueError: training would reject the data.
    """
    from tfbert.commands import table
    from tfbert.files import write_json
    from tfbert.training.problem import prepare

    result, errors = {}, []
    try:
        config = train.read_config(options)
        result = {"task": config.task, "data": config.to_dict()["data"], "encoder": config.encoder.name}
        checked = prepare(config, log_warnings=False, refusals=errors).checked
        result |= {"warnings": [list(row) for row in checked.table()], **checked.to_dict()}
        rows = [("refused", reason) for reason in errors] + checked.table()
        if rows:
            table.print_sentences(["warning", "description"], rows)
        else:
            print("no warnings")
    except ValueError as error:
        errors.append(str(error))
    finally:
        result["refused"] = [" ".join(reason.split()) for reason in errors]
        if options.json:
            write_json(options.json, result)
    if errors:
        raise ValueError(errors[0])


def run() -> None:
    """Run the command with the arguments of this process, and exit."""
    program.run("check", build_parser, main)
