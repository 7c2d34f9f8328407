"""Run `tfbert evaluate`."""

from tfbert.commands import evaluate

if __name__ == "__main__":
    evaluate.run()
