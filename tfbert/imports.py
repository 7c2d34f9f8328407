"""Lets a process that imports TensorFlow start and end sooner."""

import atexit
import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def kept_to_the_end() -> Iterator[None]:
    """Keep Python's garbage collector away from what is imported inside.

    Libraries bring hundreds of thousands of objects that stay as long as the process. The collector would look through
    them while they come, in every full collection later, and once more at exit.
    """
    gc.disable()
    # Whatever there is then goes with the process, too.
    atexit.register(gc.freeze)
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def import_tensorflow_alone() -> None:
    """Import TensorFlow as a server has it: without Keras, which it would bring, and which brings scikit-learn.

    Whatever asks for Keras later in this process fails with an ImportError, unless it was there before.
    """
    for name in ("keras", "keras_hub"):
        sys.modules.setdefault(name, None)
    with kept_to_the_end():
        import tensorflow  # noqa: F401
