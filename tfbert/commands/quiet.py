"""Imports of TensorFlow and Keras without their startup messages."""

import os
import tempfile


def import_quietly(with_keras: bool) -> None:
    """Import TensorFlow, with or without Keras; startup messages are shown only if the import fails."""
    from tfbert.imports import exempt_from_garbage_collection, import_tensorflow_without_keras

    # No setting silences what the C++ libraries write to file descriptor 2.
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            if with_keras:
                with exempt_from_garbage_collection():
                    import tensorflow_text  # noqa: F401
            else:
                import_tensorflow_without_keras()
        except BaseException:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
