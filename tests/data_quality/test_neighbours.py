"""Nearest neighbours: the same as by sorting all similarities, in blocks of any size."""

import numpy as np
import pytest

from tfbert.data_quality import neighbours


@pytest.mark.parametrize("block_values", [1, 2**20])
def test_neighbours_are_those_of_a_full_sort(block_values, monkeypatch):
    monkeypatch.setattr(neighbours, "_BLOCK_VALUES", block_values)
    vectors = neighbours.unit_vectors(np.random.default_rng(0).normal(size=(30, 5)))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    found = neighbours.nearest(vectors, vectors, 4, is_same=True)
    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -2)
    np.testing.assert_array_equal(found.rows, np.arange(30))
    np.testing.assert_array_equal(found.indices, np.argsort(-similarities, axis=1)[:, :4])
    np.testing.assert_allclose(found.similarities, -np.sort(-similarities, axis=1)[:, :4], atol=1e-6)


def test_fewer_vectors_than_neighbours():
    vectors = neighbours.unit_vectors(np.eye(3))
    assert neighbours.nearest(vectors, vectors, 9, is_same=True).indices.shape == (3, 2)
    assert neighbours.nearest(vectors[:1], vectors, 9).indices.tolist() == [[0, 1, 2]]
