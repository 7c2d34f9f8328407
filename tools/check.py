"""Read and check the data of a task as training would, without training: lines, a table of warnings, a JSON file."""

import argparse
import shutil
import textwrap
from pathlib import Path

import common


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this tool."""
    parser = argparse.ArgumentParser(
        prog="check", description=__doc__, epilog="The exit code is 2 where training would refuse the data, else 0."
    )
    parser.add_argument("--task", help="as for tools/train.py (default: classification, or the task of --config)")
    parser.add_argument("--data", metavar="PATH", help="directory with train[, validation, test], or one file")
    parser.add_argument("--encoder", metavar="NAME_OR_DIR", help="as for tools/train.py; counts tokens")
    parser.add_argument("--config", metavar="FILE", type=Path, help="config.json of a run")
    parser.add_argument("--set", metavar="SECTION.FIELD=VALUE", action="append", default=[], help="any config field")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything that was found to this file")
    return parser


def main(options: argparse.Namespace) -> None:
    """Print what training would print before it starts, then the warnings."""
    from train import read_config

    from tfbert.files import write_json
    from tfbert.training.problem import prepare

    options.seed, result, refusals = None, {}, []
    try:
        config = read_config(options)
        result = {"task": config.task, "data": config.to_dict()["data"], "encoder": config.encoder.name}
        checked = prepare(config, log_warnings=False, refusals=refusals).checked
        result |= {"warnings": [list(row) for row in checked.table()], **checked.to_dict()}
        print_table([("refused", reason) for reason in refusals] + checked.table())
    except ValueError as error:
        refusals.append(str(error))
    finally:
        result["refused"] = [" ".join(reason.split()) for reason in refusals]
        if options.json:
            write_json(options.json, result)
    if refusals:
        raise ValueError(refusals[0])


def print_table(rows: list[tuple[str, str]]) -> None:
    """Print a kind and a sentence in each row, wrapped to the width of the terminal."""
    if not rows:
        print("no warnings")
        return
    rows = [("warning", "what was found"), *rows]
    width = max(len(kind) for kind, _ in rows)
    room = max(shutil.get_terminal_size().columns - width - 3, 40)
    for number, (kind, sentence) in enumerate(rows):
        for line in textwrap.wrap(sentence, room, break_long_words=False):
            print(f"{kind:{width}}  {line}")
            kind = ""
        if number == 0:
            print(f"{'-' * width}  {'-' * room}")


if __name__ == "__main__":
    common.run(main, build_parser())
