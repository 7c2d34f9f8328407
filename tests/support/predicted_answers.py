"""Outputs of the task answers as a model could predict them, and cases scored by hand as in SQuAD's script."""

import numpy as np


def outputs_of(best, margins=None, second="x"):
    """Return outputs whose best spans are these texts, all given as answers, with decreasing probabilities."""
    count = len(best)
    texts = np.array([[text.encode(), second.encode()] for text in best], object)
    return {
        "answer": texts,
        "best_answer": texts[:, 0],
        "start": np.array([[0, 20]] * count),
        "end": np.array([[len(text), 20 + len(second)] for text in best]),
        "probability": np.linspace(0.9, 0.5, count)[:, None] * [[1, 0.1]],
        "no_answer_probability": np.full(count, 0.05),
        "no_answer_margin": np.array(margins if margins is not None else [-1.0] * count),
    }


# Question, true answers, prediction, and its exact match and F1, computed by hand as in the script of SQuAD 2.0.
OFFICIAL = [
    ("What did Ann buy?", ["a red car", "red car", "car"], "The red car.", 1.0, 1.0),
    ("Where is the car?", ["in front of the house"], "front of house", 0.0, 2 * 3 / (3 + 4)),
    ("How many cars?", ["two"], "", 0.0, 0.0),
    ("Who sold it?", [], "", 1.0, 1.0),
    ("Who stole it?", [], "Ann", 0.0, 0.0),
]
OFFICIAL_SCORES = {
    "f1": (1 + 6 / 7 + 0 + 1 + 0) / 5,
    "exact_match": 2 / 5,
    "has_answer_f1": (1 + 6 / 7 + 0) / 3,
    "has_answer_exact_match": 1 / 3,
    "no_answer_accuracy": 1 / 2,
}
PREDICTED = [predicted for _, _, predicted, *_ in OFFICIAL]
