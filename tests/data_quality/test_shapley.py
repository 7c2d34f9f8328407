"""KNN-Shapley: the closed form equals the definition by all permutations."""

import itertools

import numpy as np
import pytest

from tfbert.data_quality.shapley import shapley_values


def by_definition(is_match, num_neighbours):
    """Return the mean marginal contribution of each neighbour over all orders in which they join."""

    def value(members):
        return sum(is_match[rank] for rank in sorted(members)[:num_neighbours]) / num_neighbours

    totals = np.zeros(len(is_match))
    orders = list(itertools.permutations(range(len(is_match))))
    for order in orders:
        for position, rank in enumerate(order):
            totals[rank] += value(order[: position + 1]) - value(order[:position])
    return totals / len(orders)


@pytest.mark.parametrize("num_neighbours", [1, 2, 3, 8])
def test_closed_form_equals_the_definition(num_neighbours):
    matches = np.asarray([[True, False, True, True, False, False], [False, False, True, False, True, True]])
    values = shapley_values(matches, 6, num_neighbours)
    for row, expected in zip(values, matches, strict=True):
        np.testing.assert_allclose(row, by_definition(expected, num_neighbours), atol=1e-12)
    np.testing.assert_allclose(values.sum(axis=1), matches[:, :num_neighbours].sum(axis=1) / num_neighbours, atol=1e-12)


def test_left_out_ranks_change_values_by_less_than_a_vote_over_the_number_of_ranks():
    matches = np.random.default_rng(1).random((20, 400)) < 0.3
    exact, cut = shapley_values(matches, 400), shapley_values(matches[:, :100], 400)
    assert 0 < np.abs(exact[:, :100] - cut).max() <= 1 / 100
