"""Faster and quiet import of TensorFlow: no garbage collection of imported objects, no Keras where it is not needed."""

import atexit
import contextlib
import gc
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def exempt_from_garbage_collection() -> Iterator[None]:
    """Exempt everything imported inside the `with` block from Python's garbage collection.

    Libraries create hundreds of thousands of objects that live as long as the process. The collector would traverse
    them during the imports, in every full collection later, and again at exit.
    """
    gc.disable()
    # At exit the system frees all memory at once, so a last collection would be wasted.
    atexit.register(gc.freeze)
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Show the startup messages of the libraries imported inside the `with` block only if the import fails."""
    # No setting silences what the C++ libraries write to file descriptor 2.
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except BaseException:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def import_tensorflow_with_keras() -> None:
    """Import TensorFlow, Keras and the ops for texts."""
    with exempt_from_garbage_collection():
        import tensorflow_text  # noqa: F401


def import_tensorflow_without_keras() -> None:
    """Import TensorFlow without Keras, as in a server; TensorFlow would import Keras, and Keras scikit-learn.

    A later import of Keras in this process raises an ImportError, unless Keras was imported before.
    """
    for name in ("keras", "keras_hub"):
        sys.modules.setdefault(name, None)
    with exempt_from_garbage_collection():
        import tensorflow  # noqa: F401
