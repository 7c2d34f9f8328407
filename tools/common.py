"""What every tool does: quiet TensorFlow, log lines for a person, one clear line and exit code 2 for bad input."""

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

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
) -> None:
    """Parse the command line, call `main`, and exit.

    What `main` needs is imported for it: TensorFlow alone, as a server has it, or Keras too, or nothing.
    A `ValueError` or a file that cannot be used is the user's to mend: it is shown as one line, with exit code 2.
    """
    # Intermixed: `predict MODEL --version 3 TEXT` has an option between its arguments.
    options = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("tfbert").setLevel(logging.INFO)
    # It warns of every model after the first few that it traces one more, which is what we want of it.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    needed = needs(options)
    if needed != "nothing":
        _import_quietly(with_keras=needed == "keras")
    try:
        main(options)
    except BrokenPipeError:
        # The reader of our output, such as `head`, has gone. Nothing more can be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        if os.environ.get("TFBERT_DEBUG"):
            raise
        print(f"{parser.prog}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{parser.prog}: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)


def _import_quietly(with_keras: bool) -> None:
    from tfbert.imports import import_tensorflow_alone, kept_to_the_end

    # The C++ libraries write start-up notes to file descriptor 2 that no setting silences. They are held back, and
    # shown only when the import fails.
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            if with_keras:
                with kept_to_the_end():
                    import tensorflow_text  # noqa: F401
            else:
                import_tensorflow_alone()
        except BaseException:
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
