"""Unit vectors around a center for each label."""

import numpy as np

from tfbert.data_quality.neighbours import unit_vectors


def clusters(num_rows, num_labels, noise=0.5, seed=0):
    """Return unit vectors and label ids."""
    rng = np.random.default_rng(seed)
    targets = np.arange(num_rows) % num_labels
    centers = np.eye(num_labels, 16)
    return unit_vectors(centers[targets] + noise * rng.normal(size=(num_rows, 16)) / 4), targets
