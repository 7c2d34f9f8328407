"""Faster import of TensorFlow: no garbage collection of imported objects, no Keras where it is not needed."""

import atexit
import contextlib
import gc
import sys
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


def import_tensorflow_without_keras() -> None:
    """Import TensorFlow without Keras, as in a server; TensorFlow would import Keras, and Keras scikit-learn.

    A later import of Keras in this process raises an ImportError, unless Keras was imported before.
    """
    for name in ("keras", "keras_hub"):
        sys.modules.setdefault(name, None)
    with exempt_from_garbage_collection():
        import tensorflow  # noqa: F401
