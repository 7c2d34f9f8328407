"""Predict texts with a SavedModel, in this process or on a server, and print one JSON object per line."""

from tfbert.commands import predict

if __name__ == "__main__":
    predict.run()
