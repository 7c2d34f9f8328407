"""KNN-Shapley: the value of a training row for a classifier that asks its nearest neighbours."""

import numpy as np

# Neighbours that the classifier asks.
NUM_NEIGHBOURS = 10
# Ranks beyond this one change a value by less than a thousandth of a vote, and are taken as worthless.
MAX_RANKS = 1000


def shapley_values(is_match: np.ndarray, num_rows: int, num_neighbours: int = NUM_NEIGHBOURS) -> np.ndarray:
    """Return the Shapley values of training rows for the prediction of some other rows, in closed form.

    The value of a set of training rows is the fraction of the nearest `num_neighbours` among them that have the true
    label. Over all ranks, the values of a row's neighbours add up to the value of the whole training set.

    Args:
        is_match: bool `(rows, ranks)`, whether the neighbour at each rank, nearest first, has the true label.
        num_rows: number of training rows; those that have no rank count as worthless.
        num_neighbours: number of neighbours that vote.

    Returns:
        float64 `(rows, ranks)`.

    Source: Jia et al. 2019, "Efficient Task-Specific Data Valuation for Nearest Neighbor Algorithms", theorem 1; and
        section 4 for the ranks that are left out.
    """
    matches = is_match.astype(np.float64)
    num_ranks = matches.shape[1]
    ranks = np.arange(1, num_ranks + 1)
    weights = np.minimum(num_neighbours, ranks) / (num_neighbours * ranks)
    following = np.zeros_like(matches)
    following[:, :-1] = matches[:, 1:]
    steps = (matches - following) * weights
    if num_ranks < num_rows:
        steps[:, -1] = 0.0
    return np.cumsum(steps[:, ::-1], axis=1)[:, ::-1]
