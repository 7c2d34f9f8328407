"""Hyperparameter importance, estimated from the scores of trials."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# With fewer trials, the importance of several dimensions cannot be estimated.
_MIN_TRIALS = 8
_REPEATS = 20


def importances(trials: Sequence[Mapping[str, Any]], paths: Sequence[str]) -> dict[str, float]:
    """Return how much each hyperparameter explains of the scores, relative to the others.

    Args:
        trials: trials with a `score` and their `values`.
        paths: config paths that vary among the trials.

    Returns:
        A fraction by path; the sum is 1, or 0 if the values explain nothing. Empty if there are too few trials.

    Source: Breiman 2001, "Random Forests", section 10, permutation importance, by scikit-learn; the forest as in Hutter
        et al. 2014, "An Efficient Approach for Assessing Hyperparameter Importance". Ours permutes instead of
        decomposing the variance.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    if len(trials) < _MIN_TRIALS:
        return {}
    features = np.column_stack([encoded([trial["values"].get(path) for trial in trials]) for path in paths])
    scores = np.asarray([trial["score"] for trial in trials])
    forest = RandomForestRegressor(n_estimators=200, min_samples_leaf=2, random_state=0).fit(features, scores)
    means = permutation_importance(forest, features, scores, n_repeats=_REPEATS, random_state=0).importances_mean
    means = np.maximum(means, 0)
    total = means.sum()
    return {path: float(mean / total) if total else 0.0 for path, mean in zip(paths, means, strict=True)}


def encoded(values: Sequence[Any]) -> np.ndarray:
    """Return values as numbers for the random forest.

    Numbers are kept, or replaced by their logarithms if they span an order of magnitude. Other values are numbered in
    the order of their first occurrence. A missing value, whose condition did not hold, is below all others.
    """
    present = [value for value in values if value is not None]
    if all(type(value) in (int, float) for value in present):
        is_log = min(present, default=0) > 0 and max(present) / min(present) >= 10
        numbers = [None if value is None else (np.log(value) if is_log else float(value)) for value in values]
        missing = min((number for number in numbers if number is not None), default=0) - 1
        return np.asarray([missing if number is None else number for number in numbers])
    distinct = list(dict.fromkeys(map(repr, present)))
    return np.asarray([-1 if value is None else distinct.index(repr(value)) for value in values], float)
