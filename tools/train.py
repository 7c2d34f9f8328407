"""Fine-tune BERT on a task: write a run directory with a report, and a SavedModel for TensorFlow Serving."""

from tfbert.commands import train

if __name__ == "__main__":
    train.run()
