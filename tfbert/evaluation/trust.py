"""When to trust a prediction: calibration, how many predictions can be used at which error, and what was guaranteed.

All numbers are measured on test, which had no part in training, in the choice of the weights, or in calibration.
Without test, they are measured on validation, which has chosen the weights, and are too good.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import beta

from tfbert.evaluation import metrics
from tfbert.evaluation.metric import Confidences

_CONFIDENCE = 0.95
# Errors for which the report says how many predictions can be used.
_ERRORS = (0.01, 0.02, 0.05, 0.1)
_MAX_POINTS = 200
# The error of fewer predictions is not worth a statement.
_MIN_USED = 30


@dataclass(frozen=True)
class Fraction:
    """A fraction of records, with its 95% interval.

    Args:
        value: the fraction.
        low: the lower bound.
        high: the upper bound.
        num_records: the number of records.
    """

    value: float
    low: float
    high: float
    num_records: int

    @classmethod
    def of(cls, is_counted: np.ndarray) -> "Fraction":
        """Return the fraction of true values; without values, 0 with the interval from 0 to 1.

        Source: Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the
            binomial".
        """
        number, count, tail = len(is_counted), int(np.count_nonzero(is_counted)), (1 - _CONFIDENCE) / 2
        low = float(beta.ppf(tail, count, number - count + 1)) if count else 0.0
        high = float(beta.ppf(1 - tail, count + 1, number - count)) if count < number else 1.0
        return cls(count / number if number else 0.0, low, high, number)


def calibration(before: Confidences, after: Confidences, num_calibration: int) -> dict[str, Any]:
    """Return the reliability before and after calibration, with intervals of the calibration error.

    Args:
        before: the confidences without calibration.
        after: the served confidences of the same predictions.
        num_calibration: number of records that the calibration was fitted to.
    """
    measured = {"num_calibration": num_calibration}
    for name, confidences in (("before", before), ("after", after)):

        def error(records: np.ndarray, of: Confidences = confidences) -> float:
            return metrics.reliability_of(of.probabilities[records], of.is_right[records])["calibration_error"]

        resampled = metrics.resampled(error, len(confidences.is_right), is_fraction=False)
        reliability = metrics.reliability_of(confidences.probabilities, confidences.is_right)
        measured[name] = {"calibration_error": resampled, "bins": reliability["bins"]}
    return measured


def selection(confidences: Confidences) -> dict[str, Any]:
    """Return the error among the most confident predictions, by the fraction of predictions that are used.

    Returns:
        `points`, `(used fraction, error)` in ascending order of the fraction, and `used`, the largest fraction that can
        be used at each of some errors, with the confidence from which predictions are used, `None` for fewer than 30
        predictions; as measured, not guaranteed.
    """
    order = np.argsort(-confidences.probabilities, kind="stable")
    probabilities = confidences.probabilities[order]
    numbers = np.arange(1, len(order) + 1)
    errors = np.cumsum(~confidences.is_right[order]) / numbers
    # Predictions of equal confidence are used together.
    is_end = np.append(probabilities[1:] < probabilities[:-1], True)
    fractions = numbers / len(order)
    ends = np.flatnonzero(is_end)
    used = []
    for error in _ERRORS:
        within = ends[(errors[ends] <= error) & (numbers[ends] >= _MIN_USED)]
        last = int(within[-1]) if len(within) else None
        used.append(
            {
                "error": error,
                "fraction": 0.0 if last is None else float(fractions[last]),
                "confidence": None if last is None else float(probabilities[last]),
            }
        )
    shown = ends[np.unique(np.linspace(0, len(ends) - 1, min(_MAX_POINTS, len(ends))).astype(int))]
    points = [(float(fractions[index]), float(errors[index])) for index in shown]
    return {"points": points, "used": used}


def prediction_sets(
    sizes: np.ndarray, is_covered: np.ndarray, coverage: float, expected: tuple[float, float]
) -> dict[str, Any]:
    """Return how often prediction sets contain the true answer, and how large they are.

    Args:
        sizes: number of answers in each set, int `(records,)`.
        is_covered: whether each set contains the true answer, bool `(records,)`.
        coverage: the chosen coverage.
        expected: the range that contains the coverage for 95 of 100 draws of calibration records.
    """
    counts = np.bincount(sizes)
    return {
        "wanted": coverage,
        "expected": expected,
        "covered": asdict(Fraction.of(is_covered)),
        "mean_size": float(sizes.mean()),
        "sizes": {int(size): int(count) for size, count in enumerate(counts) if count},
    }


def abstention(abstains: np.ndarray, is_right: np.ndarray, max_error: float) -> dict[str, Any]:
    """Return the fraction of predictions that are used, and the fraction of errors among them.

    Args:
        abstains: whether the model abstains, bool `(records,)`.
        is_right: whether each prediction is right, bool `(records,)`.
        max_error: the chosen limit of the errors among used predictions.
    """
    return {
        "wanted": max_error,
        "used": asdict(Fraction.of(~abstains)),
        "error": asdict(Fraction.of(~is_right[~abstains])) if not abstains.all() else None,
    }


def intervals(
    low: np.ndarray, high: np.ndarray, is_covered: np.ndarray, coverage: float, expected: tuple[float, float]
) -> dict[str, Any]:
    """Return how often intervals contain the true number, and their width.

    Args:
        low: lower ends, float `(records,)`.
        high: upper ends.
        is_covered: whether each interval contains the true number, bool `(records,)`.
        coverage: the chosen coverage.
        expected: as for `prediction_sets`.
    """
    return {
        "wanted": coverage,
        "expected": expected,
        "covered": asdict(Fraction.of(is_covered)),
        "mean_width": float(np.mean(high - low)),
    }


def domain(p_values: np.ndarray, significance: float, num_calibration: int) -> dict[str, Any]:
    """Return the fraction of texts that count as out of domain although they come from the same data.

    Args:
        p_values: of in-domain texts, float `(records,)`.
        significance: the p-value below which a text counts as out of domain.
        num_calibration: the number of calibration records that the p-values are fractions of.
    """
    # Given the calibration records, the fraction has a beta distribution: Bates et al. 2023, section 2.3.
    rank = int(significance * (num_calibration + 1))
    expected = beta.ppf([0.025, 0.975], rank, num_calibration + 1 - rank).tolist() if rank else [0.0, 0.0]
    return {"significance": significance, "expected": expected, "refused": asdict(Fraction.of(p_values < significance))}


def shown(trust: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of `report.json`: all but the points of curves."""
    kept = dict(trust)
    if "selection" in kept:
        kept["selection"] = {"used": kept["selection"]["used"]}
    if "calibration" in kept:
        kept["calibration"] = {
            name: {"calibration_error": value["calibration_error"]} if isinstance(value, Mapping) else value
            for name, value in kept["calibration"].items()
        }
    return kept
