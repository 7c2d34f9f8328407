"""Conformal prediction intervals: ranges that contain the true number with a chosen probability, whatever the model.

Source: Lei et al. 2018, "Distribution-Free Predictive Inference for Regression", section 2.2 (split conformal
    prediction with absolute residuals).
"""

import math

import numpy as np


def fit_half_width(residuals: np.ndarray, coverage: float) -> float:
    """Return the largest distance of a number from its prediction that belongs to the interval.

    Args:
        residuals: predicted minus true numbers of calibration records, float `(records,)`.
        coverage: the wanted probability that an interval has the true number, between 0 and 1.

    Returns:
        The half-width; infinity if there are fewer than `prediction_sets.min_records(coverage)` records.
    """
    rank = math.ceil((len(residuals) + 1) * coverage)
    return float(np.sort(np.abs(residuals))[rank - 1]) if rank <= len(residuals) else math.inf
