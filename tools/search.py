"""Tune the hyperparameters of a task with Keras Tuner: write the best config, a report and a SavedModel."""

from tfbert.commands import search

if __name__ == "__main__":
    search.run()
