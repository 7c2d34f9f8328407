"""Vectors of records by the frozen encoder."""

import numpy as np
from support import small

from tfbert.data_quality.vectors import record_vectors
from tfbert.training.problem import prepare


def test_vectors_are_unit_vectors_in_the_order_of_the_records(tmp_path):
    problem = prepare(small.config(small.write_data(tmp_path / "data")))
    chosen = np.asarray([3, 0, 5])
    train = problem.tokenized["train"]
    vectors = record_vectors(problem.encoder, train, 32, np.arange(len(train)))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(record_vectors(problem.encoder, train, 32, chosen), vectors[chosen], atol=0.02)
    assert np.ptp(vectors, axis=0).max() > 0.1
