"""Check the data of a task without training, and print what training would print before it starts."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfbert.commands import program, train

if TYPE_CHECKING:
    from tfbert.config import Config
    from tfbert.training.problem import Problem


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
    parser.add_argument(
        "--doubtful",
        action="store_true",
        help="also look for wrong labels, near-duplicates and drift with the frozen encoder, and write doubtful.csv",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="directory of doubtful.csv, with --doubtful (default: doubtful/NAME with the name of the data)",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the results to this file")
    return parser


def main(options: argparse.Namespace) -> None:
    """Print what training would print before it starts, a table of warnings, and what looks wrong in the labels.

    Raises:
        ValueError: training would reject the data, or an option does not fit the others.
    """
    from tfbert.commands import table
    from tfbert.files import write_json
    from tfbert.training.problem import prepare

    result, errors = {}, []
    try:
        config = train.read_config(options)
        out_dir = _table_dir(options, config)
        result = {"task": config.task, "data": config.to_dict()["data"], "encoder": config.encoder.name}
        problem = prepare(config, log_warnings=False, refusals=errors)
        checked = problem.checked
        result |= {"warnings": [list(row) for row in checked.table()], **checked.to_dict()}
        rows = [("refused", reason) for reason in errors] + checked.table()
        if rows:
            table.print_sentences(["warning", "description"], rows)
        else:
            print("no warnings")
        if out_dir is not None and not errors:
            result["doubtful"] = _examine(problem, out_dir)
    except ValueError as error:
        errors.append(str(error))
    finally:
        result["refused"] = [" ".join(reason.split()) for reason in errors]
        if options.json:
            write_json(options.json, result)
    if errors:
        raise ValueError(errors[0])


def _table_dir(options: argparse.Namespace, config: "Config") -> Path | None:
    """Return the directory of the tables; `None` without --doubtful."""
    if not options.doubtful:
        if options.out is not None:
            raise ValueError(f"--out {options.out}: has no effect without --doubtful")
        return None
    from tfbert.data_quality import doubtful, tables
    from tfbert.models.data import data_title
    from tfbert.tasks.base import load_task

    doubtful.check_supported(load_task(config.task))
    directory = options.out or Path("doubtful", data_title(config))
    tables.check_not_filled_in(directory)
    return directory


def _examine(problem: "Problem", directory: Path) -> dict[str, Any]:
    """Print what was found in the data, write the tables, and return the results for JSON."""
    from tfbert.commands import table
    from tfbert.data_quality import doubtful, tables
    from tfbert.text.corrections import read_corrections

    found = doubtful.examine(problem.labelled_data())
    print()
    table.print_sentences(["finding", "description"], tables.summary(found))
    table_path = problem.config.data.corrections
    paths = tables.write_tables(found, directory, read_corrections(Path(table_path)) if table_path else ())
    command = program.suggestion("train", "...", "--corrections", str(paths[0]))
    print(f"\nwrote {', '.join(map(str, paths))}")
    print(f"Fill in the column corrected_label of {paths[0].name}, then train with: {command}")
    return tables.to_dict(found)


def run() -> None:
    """Run the command with the arguments of this process, and exit."""
    program.run("check", build_parser, main)
