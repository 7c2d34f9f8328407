"""Shapley values of words: the mean change of a value when a word is added to a random set of the other words.

Source: Shapley 1953, "A Value for n-Person Games"; Mitchell et al. 2022, "Sampling Permutations for Shapley Value
    Estimation", section 3.2, for antithetic sampling: every permutation is used in both directions.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

# Up to this number of words all subsets are evaluated.
MAX_EXACT_WORDS = 8
NUM_EVALUATIONS = 200

# A function from sets of words, bool `(sets, words)`, to the value of the texts with only these words: `(sets,)`.
Values = Callable[[np.ndarray], np.ndarray]


def shapley_values(num_words: int, values: Values, seed: int = 0) -> np.ndarray:
    """Return the Shapley value of each word, float64 `(num_words,)`; they add up to the value of all words minus none.

    Args:
        num_words: the number of words.
        values: evaluates sets of words; called once.
        seed: random seed of the permutations.
    """
    if num_words == 0:
        return np.zeros(0)
    if num_words <= MAX_EXACT_WORDS:
        return _exact(num_words, values)
    # The first and the last set of each permutation, without words and with all of them, are evaluated once.
    num_pairs = max(1, (NUM_EVALUATIONS - 2) // (2 * (num_words - 1)))
    rng = np.random.default_rng(seed)
    orders = [order for _ in range(num_pairs) for order in _antithetic(rng.permutation(num_words))]
    sets = np.zeros((len(orders), num_words + 1, num_words), bool)
    for index, order in enumerate(orders):
        for size, word in enumerate(order, start=1):
            sets[index, size:, word] = True
    inner = sets[:, 1:-1].reshape(-1, num_words)
    results = values(np.concatenate([sets[0, [0, -1]], inner]))
    path = np.zeros((len(orders), num_words + 1))
    path[:, [0, -1]] = results[:2]
    path[:, 1:-1] = results[2:].reshape(len(orders), num_words - 1)
    contributions = np.zeros(num_words)
    for order, gains in zip(orders, np.diff(path, axis=1), strict=True):
        contributions[order] += gains / len(orders)
    return contributions


def _antithetic(order: np.ndarray) -> Sequence[np.ndarray]:
    return order, order[::-1]


def _exact(num_words: int, values: Values) -> np.ndarray:
    sets = np.array(list(itertools.product([False, True], repeat=num_words)))
    results = values(sets)
    place = 2 ** np.arange(num_words)[::-1]
    sizes = sets.sum(axis=1)
    contributions = np.zeros(num_words)
    for word in range(num_words):
        without = np.flatnonzero(~sets[:, word])
        weights = np.array([1 / (num_words * math.comb(num_words - 1, size)) for size in sizes[without]])
        contributions[word] = np.sum(weights * (results[without + place[word]] - results[without]))
    return contributions
