"""Predict texts with a SavedModel, in this process or on a server.

They are printed for reading on a terminal, as JSON lines otherwise, or written to a file with --out.
"""

from tfbert.commands import predict

if __name__ == "__main__":
    predict.run()
