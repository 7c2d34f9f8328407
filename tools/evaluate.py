"""Evaluate a run or a SavedModel on labelled data: print metrics with confidence intervals.

They are printed as tables on a terminal, otherwise as JSON.
"""

from tfbert.commands import evaluate

if __name__ == "__main__":
    evaluate.run()
