"""Shared by all commands: how the process was started, quiet imports, logging, error messages and exit codes."""

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal

from tfbert import interrupts
from tfbert.commands import quiet
from tfbert.files import check_name, is_disk_full

# TensorFlow's C++ libraries read this when they are loaded; their startup messages are of no use to a user.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

RUNS_DIR = Path("runs")
SAVED_MODELS_DIR = Path("saved_models")
# In the checkout, independent of the working directory.
DEPLOY_DIR = Path(__file__).resolve().parents[2] / "deploy"


def given_values(options: argparse.Namespace) -> dict[str, Any]:
    """Return the config values that --data, --encoder and --seed set, by config path."""
    paths = {"data": "data.path", "encoder": "encoder.name", "seed": "train.seed"}
    return {path: vars(options)[name] for name, path in paths.items() if vars(options).get(name) is not None}


def _words() -> tuple[list[str], list[str]]:
    """Return the words of the command that started this process: those that name the program, and its arguments."""
    script = Path(sys.argv[0])
    if script.stem == "__main__" and script.parent.name != "tfbert":
        return ["python", "-m", script.parent.name], sys.argv[1:]
    if script.stem == "__main__":
        return ["python", "-m", "tfbert", *sys.argv[1:2]], sys.argv[2:]
    if script.suffix == ".py":
        return ["python", sys.argv[0]], sys.argv[1:]
    return ["tfbert", *sys.argv[1:2]], sys.argv[2:]


def command(without: Collection[str] = ()) -> str:
    """Return the shell command that started this process, for reports and messages.

    Args:
        without: arguments to leave out.
    """
    program, arguments = _words()
    return shlex.join([*program, *(argument for argument in arguments if argument not in without)])


def python_arguments() -> list[str]:
    """Return the arguments with which the Python interpreter runs the same command in another process."""
    program, arguments = _words()
    return [*(program if program[0] == "python" else ["python", "-m", *program])[1:], *arguments]


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
        name: of the command.
        build_parser: returns the parser for a name of the program.
        main: the command's main function.
        needs: returns what to import before `main` is called: TensorFlow without Keras as in a server, both, or
            nothing.
        resumes: whether the same command continues a stopped run.
        catches_sigterm: whether SIGTERM outside of training prints such a line too, instead of ending silently.
    """
    # Intermixed because options may stand between positional arguments: `predict MODEL --version 3 TEXT`.
    program, arguments = _words()
    parser = build_parser(f"tfbert {name}" if "tfbert" in program else name)
    options = parser.parse_intermixed_args(arguments)
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
            quiet.import_quietly(with_keras=needed == "keras")
        main(options)
    except BrokenPipeError:
        # The reader of the output, such as `head`, has closed it. Nothing can be written any more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if os.environ.get("TFBERT_DEBUG") or not (isinstance(error, ValueError | OSError) or is_disk_full(error)):
            raise
        print(f"{parser.prog}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as error:
        stopped = error if isinstance(error, interrupts.Stopped) else interrupts.Stopped()
        # The suggested command must not discard what was saved.
        repeated = command(without=("--restart",)) if resumes else ""
        print(f"{parser.prog}: {stopped.describe(repeated)}", file=sys.stderr)
        sys.exit(stopped.exit_code)
