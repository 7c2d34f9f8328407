"""Shared by all tools: quiet imports, logging, error messages and exit codes."""

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import quiet

from tfbert import interrupts
from tfbert.files import check_name, is_disk_full

# TensorFlow's C++ libraries read this when they are loaded; their startup messages are of no use to a user.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

RUNS_DIR = Path("runs")
SAVED_MODELS_DIR = Path("saved_models")
# In the checkout, independent of the working directory.
DEPLOY_DIR = Path(__file__).resolve().parent.parent / "deploy"


def given_values(options: argparse.Namespace) -> dict[str, Any]:
    """Return the config values that --data, --encoder and --seed set, by config path."""
    paths = {"data": "data.path", "encoder": "encoder.name", "seed": "train.seed"}
    return {path: vars(options)[name] for name, path in paths.items() if vars(options).get(name) is not None}


def run(
    main: Callable[[argparse.Namespace], None],
    parser: argparse.ArgumentParser,
    needs: Callable[[argparse.Namespace], Literal["nothing", "tensorflow", "keras"]] = lambda options: "keras",
    resumes: bool = False,
    catches_sigterm: bool = True,
) -> None:
    """Parse the command line, call `main`, and exit.

    A `ValueError`, an unusable file or a full disk is reported in one line, with exit code 2. After Ctrl-C and SIGTERM
    the exit codes are 130 and 143, and the last line says what was saved.

    Args:
        main: the tool's main function.
        parser: the parser of the command line.
        needs: returns what to import before `main` is called: TensorFlow without Keras as in a server, both, or
            nothing.
        resumes: whether the same command continues a stopped run.
        catches_sigterm: whether SIGTERM outside of training prints such a line too, instead of ending silently.
    """
    # Intermixed because options may stand between positional arguments: `predict MODEL --version 3 TEXT`.
    options = parser.parse_intermixed_args()
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
        arguments = ["python", *(argument for argument in sys.argv if argument != "--restart")]
        print(f"{parser.prog}: {stopped.describe(shlex.join(arguments) if resumes else '')}", file=sys.stderr)
        sys.exit(stopped.exit_code)
