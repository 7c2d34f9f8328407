"""Trials in, how much each hyperparameter mattered to the score out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Fewer trials tell nothing of several dimensions.
_FEWEST_TRIALS = 8
_REPEATS = 20


def importances(trials: Sequence[Mapping[str, Any]], paths: Sequence[str]) -> dict[str, float]:
    """Return the share of each path in what the values explain of the scores; empty where trials are too few.

    Args:
        trials: that have a `score`, with their `values`.
        paths: that vary among them.

    Returns:
        Path to a share from 0 to 1, together 1 unless the values explain nothing.

    Source: Breiman 2001, "Random Forests", section 10, permutation importance, by scikit-learn; the forest as in Hutter
        et al. 2014, "An Efficient Approach for Assessing Hyperparameter Importance". Ours permutes instead of
        decomposing the variance.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    if len(trials) < _FEWEST_TRIALS:
        return {}
    features = np.column_stack([encoded([trial["values"].get(path) for trial in trials]) for path in paths])
    scores = np.asarray([trial["score"] for trial in trials])
    forest = RandomForestRegressor(n_estimators=200, min_samples_leaf=2, random_state=0).fit(features, scores)
    found = permutation_importance(forest, features, scores, n_repeats=_REPEATS, random_state=0).importances_mean
    found = np.maximum(found, 0)
    total = found.sum()
    return {path: float(value / total) if total else 0.0 for path, value in zip(paths, found, strict=True)}


def encoded(values: Sequence[Any]) -> np.ndarray:
    """Return values as numbers in an order: numbers as they are, of several orders of magnitude their logarithm.

    Anything else is numbered by its first occurrence; a value that is not there, as its condition did not hold, is -1
    or below all others.
    """
    given = [value for value in values if value is not None]
    if all(type(value) in (int, float) for value in given):
        is_log = min(given, default=0) > 0 and max(given) / min(given) >= 10
        numbers = [None if value is None else (np.log(value) if is_log else float(value)) for value in values]
        absent = min((number for number in numbers if number is not None), default=0) - 1
        return np.asarray([absent if number is None else number for number in numbers])
    known = list(dict.fromkeys(map(repr, given)))
    return np.asarray([-1 if value is None else known.index(repr(value)) for value in values], float)
