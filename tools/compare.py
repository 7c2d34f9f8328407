"""Compare runs and SavedModels on the same test records, or list all runs by their scores."""

from tfbert.commands import compare

if __name__ == "__main__":
    compare.run()
