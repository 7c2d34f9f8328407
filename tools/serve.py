"""Serve SavedModels on this machine with the flags, protocols and responses of TensorFlow Serving.

For development, tests and small internal use; use TensorFlow Serving in production. Listens on 127.0.0.1 by default.
"""

from tfbert.commands import serve

if __name__ == "__main__":
    serve.run()
