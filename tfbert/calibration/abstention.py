"""Selective prediction: the confidence from which predictions are wrong at most as often as the user allows.

Source: Geifman and El-Yaniv 2017, "Selective Classification for Deep Neural Networks"; Angelopoulos et al. 2021, "Learn
then Test", section 4.2: thresholds are tested in a fixed sequence, from several starting points that share the error
probability. Ours differs from both in using the exact binomial bound of Clopper and Pearson for each test.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

# The probability that calibration records are so lucky that the bound does not hold for new records.
ERROR_PROBABILITY = 0.1
_NUM_STARTS = 5


@dataclass(frozen=True)
class Selection:
    """The predictions that are confident enough to be used.

    Args:
        threshold: the confidence from which a prediction is used; infinity if no threshold satisfies the bound.
        answered_fraction: the fraction of the calibration records at or above the threshold.
        error_bound: the upper bound of the fraction of errors among these; 1 if there are none.
    """

    threshold: float
    answered_fraction: float
    error_bound: float


def fit_selection(confidences: np.ndarray, is_right: np.ndarray, max_error: float) -> Selection:
    """Return the lowest threshold whose predictions are wrong at most as often as allowed.

    In 9 of 10 draws of calibration records the fraction of errors among new predictions at or above the threshold is at
    most `max_error`.

    Args:
        confidences: of the predictions for calibration records, float `(records,)`.
        is_right: whether each prediction is right, bool `(records,)`.
        max_error: the allowed fraction of errors among the predictions that are used, between 0 and 1.
    """
    order = np.argsort(-confidences, kind="stable")
    sorted_confidences, num_errors = confidences[order], np.cumsum(~is_right[order])
    # Records of equal confidence are answered together.
    candidates = np.flatnonzero(np.append(sorted_confidences[1:] < sorted_confidences[:-1], True)) + 1
    candidates = candidates[candidates >= min_records(max_error)]
    bounds = _upper_bound(num_errors[candidates - 1], candidates)
    best = None
    for start in np.unique(np.linspace(0, len(candidates) - 1, _NUM_STARTS).astype(int)) if len(candidates) else ():
        # Each sequence ends before the first threshold that fails its test.
        num_passed = int(np.argmin(np.append(bounds[start:] <= max_error, False)))
        if num_passed:
            best = max(best or 0, start + num_passed - 1)
    if best is None:
        return Selection(math.inf, 0.0, 1.0)
    count = int(candidates[best])
    return Selection(float(sorted_confidences[count - 1]), count / len(confidences), float(bounds[best]))


def min_records(max_error: float) -> int:
    """Return the number of right predictions in a row that are enough to show that errors are rare enough."""
    return math.ceil(math.log(ERROR_PROBABILITY / _NUM_STARTS) / math.log1p(-max_error))


def lowest_provable_error(confidences: np.ndarray, is_right: np.ndarray) -> float:
    """Return the smallest `max_error`, in thousandths, that some threshold satisfies with these calibration records.

    Args:
        confidences: as for `fit_selection`.
        is_right: as for `fit_selection`.

    Returns:
        1 if there is none below 1.
    """
    # The tests depend on the bound that they are for, so there is no shorter way than to try.
    for thousandths in range(1, 1000):
        if math.isfinite(fit_selection(confidences, is_right, thousandths / 1000).threshold):
            return thousandths / 1000
    return 1.0


def _upper_bound(num_errors: np.ndarray, num_records: np.ndarray) -> np.ndarray:
    """Return the exact upper confidence bound of a fraction of errors."""
    confidence = 1 - ERROR_PROBABILITY / _NUM_STARTS
    bound = beta.ppf(confidence, num_errors + 1, np.maximum(num_records - num_errors, 1e-9))
    return np.where(num_errors >= num_records, 1.0, bound)
