"""What every tool does: quiet TensorFlow, log lines for a person, one clear line and exit code 2 for bad input."""

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import quiet

from tfbert import interrupts
from tfbert.files import check_name, is_disk_full

# Read by TensorFlow's C++ part when it is loaded; its start-up notes mean nothing to a user.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

RUNS_DIR = Path("runs")
SAVED_MODELS_DIR = Path("saved_models")
# Part of the checkout, wherever the tool is called from.
DEPLOY_DIR = Path(__file__).resolve().parent.parent / "deploy"


def run(
    main: Callable[[argparse.Namespace], None],
    parser: argparse.ArgumentParser,
    needs: Callable[[argparse.Namespace], Literal["nothing", "tensorflow", "keras"]] = lambda options: "keras",
    resumes: bool = False,
    catches_sigterm: bool = True,
) -> None:
    """Parse the command line, call `main`, and exit.

    What `main` needs is imported for it: TensorFlow alone, as a server has it, or Keras too, or nothing.
    A `ValueError`, a file that cannot be used, or a full disk is shown as one line, with exit code 2. Ctrl-C and
    SIGTERM end with 130 and 143, and with a line that says what was saved.

    Args:
        main: does the work.
        parser: of the command line.
        needs: says what to import.
        resumes: whether the same command, started again, goes on where it was stopped.
        catches_sigterm: whether SIGTERM outside of a training ends with such a line too, or silently.
    """
    # Intermixed: `predict MODEL --version 3 TEXT` has an option between its arguments.
    options = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("tfbert").setLevel(logging.INFO)
    # It warns of every model after the first few that it traces one more, which is what we want of it.
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
        # The reader of our output, such as `head`, has gone. Nothing more can be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if os.environ.get("TFBERT_DEBUG") or not (isinstance(error, ValueError | OSError) or is_disk_full(error)):
            raise
        print(f"{parser.prog}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as error:
        stopped = error if isinstance(error, interrupts.Stopped) else interrupts.Stopped()
        # What goes on must not drop what was saved.
        arguments = [argument for argument in sys.argv if argument != "--restart"]
        command = shlex.join(["python", *arguments]) if resumes else ""
        print(f"{parser.prog}: {stopped.describe(command)}", file=sys.stderr)
        sys.exit(stopped.exit_code)
