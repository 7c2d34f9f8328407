"""Imports TensorFlow and Keras without what they write when they start."""

import os
import tempfile


def import_quietly(with_keras: bool) -> None:
    """Import TensorFlow, and Keras with it or not; start-up notes are shown only if that fails."""
    from tfbert.imports import exempt_from_garbage_collection, import_tensorflow_without_keras

    # The C++ libraries write start-up notes to file descriptor 2 that no setting silences. They are held back, and
    # shown only when the import fails.
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            if with_keras:
                with exempt_from_garbage_collection():
                    import tensorflow_text  # noqa: F401
            else:
                import_tensorflow_without_keras()
        except BaseException:
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
