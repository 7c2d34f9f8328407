"""Conformal prediction sets: the labels that contain the true one with a chosen probability, whatever the model.

The guarantee holds for new records from the same source as the calibration records, on average over draws of these. It
needs calibration records that were used neither to train nor to choose the model.

Source: Sadinle et al. 2019, "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels"; Angelopoulos and Bates
2023, "Conformal Prediction: A Gentle Introduction", section 1. Ours differs in that a set is never empty: it has at
least the most probable label, which can only raise the coverage.
"""

import math

import numpy as np
from scipy.stats import beta


def fit_set_threshold(probabilities: np.ndarray, targets: np.ndarray, coverage: float) -> float:
    """Return the probability from which a label belongs to the set.

    Args:
        probabilities: of calibration records, float `(records, labels)`.
        targets: true labels, int `(records,)`.
        coverage: the wanted probability that a set has the true label, between 0 and 1.

    Returns:
        The threshold; 0, with which sets have all labels, if there are fewer than `min_records(coverage)` records.
    """
    rank = math.ceil((len(targets) + 1) * coverage)
    if rank > len(targets):
        return 0.0
    # The label with the `rank`-th highest probability of the true label is the last one to be covered.
    of_target = np.sort(probabilities[np.arange(len(targets)), targets])[::-1]
    return float(of_target[rank - 1])


def min_records(coverage: float) -> int:
    """Return the number of calibration records from which sets with this coverage can leave a label out."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def coverage_interval(num_records: int, coverage: float) -> tuple[float, float]:
    """Return the range that contains the coverage for new records in 95 of 100 draws of calibration records.

    Args:
        num_records: the number of calibration records, at least `min_records(coverage)`.
        coverage: the wanted coverage.

    Source: Angelopoulos and Bates 2023, section 3.2: given the calibration records, the coverage has a beta
        distribution.
    """
    rank = math.ceil((num_records + 1) * coverage)
    low, high = beta.ppf([0.025, 0.975], rank, num_records + 1 - rank)
    return float(low), float(high)
