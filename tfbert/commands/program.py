"""Shared by all commands: how the process was started, quiet imports, logging, error messages and exit codes."""

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal

from tfbert import imports, interrupts
from tfbert.data_config import NO_SPLITS, SPLITS
from tfbert.files import check_name, is_disk_full

# TensorFlow's C++ libraries read this when they are loaded; their startup messages are of no use to a user.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# The directory of all SavedModels, in the working directory.
SAVED_MODELS_DIR = Path("saved_models")


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which data to read."""
    parser.add_argument("--data", metavar="PATH", help="directory with train[, validation, test], or one file")
    parser.add_argument("--train", metavar="FILE", help="file of the train split, instead of --data")
    parser.add_argument("--validation", metavar="FILE", help="file of the validation split, with --train")
    parser.add_argument("--calibration", metavar="FILE", help="file of the calibration split, with --train")
    parser.add_argument("--test", metavar="FILE", help="file of the test split, with --train")
    add_format_argument(parser)


def add_format_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option for the format of data files."""
    parser.add_argument("--format", metavar="NAME", help="format of the files, as --set data.format (default: auto)")


def given_values(options: argparse.Namespace) -> dict[str, Any]:
    """Return the config values that --data, --train, --encoder and others set, by config path.

    Raises:
        ValueError: the data is given both by --data and by files of single splits, or --set gives what another option
            gives.
    """
    paths = {"data": "data.path"} | {name: f"data.{name}" for name in SPLITS}
    paths |= {
        "corrections": "data.corrections",
        "format": "data.format",
        "encoder": "encoder.name",
        "seed": "train.seed",
    }
    option_of = {path: name for name, path in paths.items() if vars(options).get(name) is not None}
    values = {path: vars(options)[name] for path, name in option_of.items()}
    splits = [name for name in SPLITS if f"data.{name}" in values]
    if splits and "data.path" in values:
        raise ValueError(f"--data and --{splits[0]}: expected --data, or --train with --validation and --test")
    locations = {"data.path", *NO_SPLITS}
    for assignment in vars(options).get("set") or ():
        path = assignment.partition("=")[0].strip()
        given = [p for p in option_of if p == path or (p in locations and path in locations)]
        if given:
            raise ValueError(f"--{option_of[given[0]]} and --set {assignment}: both set the same; expected one of them")
    # They replace the data of a stored config.
    return values if not splits and "data.path" not in values else {"data.path": None, **NO_SPLITS, **values}


def _words() -> list[str]:
    """Return the words before the arguments in the command that started this process."""
    if _is_script():
        return ["python", sys.argv[0]]
    start = ["python", "-m"] if Path(sys.argv[0]).name == "__main__.py" else []
    return [*start, "tfbert", sys.argv[1]]


def _is_script() -> bool:
    """Return whether a script in `tools/` started this process, rather than the command `tfbert`."""
    path = Path(sys.argv[0])
    return path.suffix == ".py" and path.name != "__main__.py"


def arguments() -> list[str]:
    """Return the arguments of the command that this process runs, without the command's name."""
    return sys.argv[1:] if _is_script() else sys.argv[2:]


def command(without: Collection[str] = ()) -> str:
    """Return the shell command that started this process, for reports and messages.

    Args:
        without: arguments to leave out.
    """
    return shlex.join([*_words(), *(argument for argument in arguments() if argument not in without)])


def suggestion(name: str, *arguments: str) -> str:
    """Return the shell command that runs another command, in the form in which this process was started."""
    words = ["python", str(Path(sys.argv[0]).with_name(f"{name}.py"))] if _is_script() else [*_words()[:-1], name]
    return shlex.join([*words, *arguments])


def python_arguments() -> list[str]:
    """Return the arguments with which the Python interpreter runs the same command in another process."""
    start = sys.argv[:1] if _is_script() else ["-m", "tfbert", sys.argv[1]]
    return [*start, *arguments()]


def run(
    name: str,
    build_parser: Callable[[str], argparse.ArgumentParser],
    main: Callable[[argparse.Namespace], None],
    needs: Callable[[argparse.Namespace], Literal["nothing", "tensorflow", "keras"]] = lambda options: "keras",
    resumes: bool = False,
    catches_sigterm: bool = True,
) -> None:
    """Parse the command line, call `main`, and exit.

    A `ValueError`, an unusable file or a full disk is reported in one line, with exit code 2. After Ctrl-C and SIGTERM
    the exit codes are 130 and 143, and the last line says what was saved.

    Args:
        name: the name of the command.
        build_parser: returns the parser for a program name.
        main: the command's main function.
        needs: returns what to import before `main` is called: TensorFlow without Keras as in a server, both, or
            nothing.
        resumes: whether the same command continues a stopped run.
        catches_sigterm: whether SIGTERM outside of training prints such a line too, instead of ending silently.
    """
    # Intermixed because options may stand between positional arguments: `predict MODEL --version 3 TEXT`.
    parser = build_parser(name if _is_script() else f"tfbert {name}")
    options = parser.parse_intermixed_args(arguments())
    run_main(parser.prog, main, options, needs, resumes, catches_sigterm)


def _described(error: Exception) -> str:
    """Return the message of an error; that of the operating system begins with a number."""
    if type(error) is FileNotFoundError and error.filename is not None:
        return f"{error.filename}: does not exist"
    return str(error)


def run_main(
    prog: str,
    main: Callable[[argparse.Namespace], None],
    options: argparse.Namespace,
    needs: Callable[[argparse.Namespace], Literal["nothing", "tensorflow", "keras"]] = lambda options: "keras",
    resumes: bool = False,
    catches_sigterm: bool = True,
) -> None:
    """Call the main function of a program with parsed options as `run` does, and exit.

    Args:
        prog: the name of the program in messages.
        main: the main function.
        options: the parsed command line.
        needs: as for `run`.
        resumes: as for `run`.
        catches_sigterm: as for `run`.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("tfbert").setLevel(logging.INFO)
    # TensorFlow warns about repeated tracing when a process builds several models, as it should here.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if catches_sigterm:
        interrupts.catch_sigterm()
    try:
        if getattr(options, "name", None) is not None:
            check_name(options.name, "--name")
        needed = needs(options)
        if needed != "nothing":
            with imports.quiet():
                if needed == "keras":
                    imports.import_tensorflow_with_keras()
                else:
                    imports.import_tensorflow_without_keras()
        main(options)
    except BrokenPipeError:
        # The reader of the output, such as `head`, has closed it. Nothing can be written any more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if os.environ.get("TFBERT_DEBUG") or not (isinstance(error, ValueError | OSError) or is_disk_full(error)):
            raise
        print(f"{prog}: {' '.join(_described(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as error:
        stopped = error if isinstance(error, interrupts.Stopped) else interrupts.Stopped()
        # The suggested command must not discard what was saved.
        repeated = command(without=("--restart",)) if resumes else ""
        # On a terminal, the cursor is behind a progress bar and ^C.
        start = "\n" if sys.stderr.isatty() else ""
        print(f"{start}{prog}: {stopped.describe(repeated)}", file=sys.stderr)
        sys.exit(stopped.exit_code)
