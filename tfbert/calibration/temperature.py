"""Temperature scaling: probabilities that agree with how often predictions are right, without changing predictions.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2; Platt 1999, "Probabilistic Outputs for
Support Vector Machines", whose sigmoid with slope and intercept is fitted to each label of multi-label classification.
"""

import numpy as np
from scipy.optimize import minimize, minimize_scalar

# A temperature outside these bounds says that the probabilities are useless, which scaling does not cure.
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.05, 20.0
# Standard deviation of the prior of the temperature's logarithm. Without a prior, a few calibration records that are
# all predicted correctly would make all probabilities 1.
_PRIOR_DEVIATION = np.log(2)
# Probabilities are kept at this distance from 0 and 1, where their log-odds are infinite.
MIN_PROBABILITY = 1e-6
# With fewer positive or negative records than this, a label shares slope and intercept with all others.
MIN_RECORDS_PER_LABEL = 30
# The weight of a prior, in records, that keeps slope and intercept finite if a label is predicted perfectly.
_PRIOR_RECORDS = 0.1


def fit_temperature(log_probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Return the temperature with the highest posterior probability; dividing logits by it calibrates their softmax.

    The logarithm of the temperature has a normal prior, which matters only for few records.

    Args:
        log_probabilities: logits, or anything that differs from them by a constant per record, float
            `(records, labels)`.
        targets: true labels, int `(records,)`.
    """
    precision = 1 / (2 * len(targets) * _PRIOR_DEVIATION**2)

    def loss(log_temperature: float) -> float:
        scaled = log_probabilities / np.exp(log_temperature)
        return negative_log_likelihood(scaled, targets) + precision * log_temperature**2

    bounds = np.log(_MIN_TEMPERATURE), np.log(_MAX_TEMPERATURE)
    result = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-5})
    return float(np.exp(result.x))


def negative_log_likelihood(logits: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean negative log-likelihood of the true labels in nats.

    Args:
        logits: float `(records, labels)`.
        targets: true labels, int `(records,)`.
    """
    shifted = logits - logits.max(-1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(-1))
    return float(np.mean(log_sums - np.take_along_axis(shifted, targets[:, None], -1)[:, 0]))


def fit_sigmoid(probabilities: np.ndarray, is_right: np.ndarray) -> tuple[float, float]:
    """Return slope and intercept with which the sigmoid of `slope * log_odds + intercept` is calibrated.

    Args:
        probabilities: of predictions, float `(predictions,)`, 0 to 1.
        is_right: whether each prediction is right, bool `(predictions,)`.

    Returns:
        1 and 0, which change nothing, if fewer than `MIN_RECORDS_PER_LABEL` predictions are right or wrong.
    """
    if min(np.count_nonzero(is_right), np.count_nonzero(~is_right)) < MIN_RECORDS_PER_LABEL:
        return 1.0, 0.0
    probabilities = np.clip(probabilities.astype(np.float64), MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    slope, intercept = _fit_sigmoid(np.log(probabilities) - np.log1p(-probabilities), is_right)
    return float(slope), float(intercept)


def fit_sigmoids(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and intercept of each label, with which `sigmoid(slope * logit + intercept)` is calibrated.

    A label with fewer than `MIN_RECORDS_PER_LABEL` positive or negative records has those fitted to all labels.

    Args:
        logits: float `(records, labels)`.
        targets: whether each record has each label, bool `(records, labels)`.

    Returns:
        Two float64 arrays `(labels,)`; slopes are positive, so that the order of records by a label does not change.
    """
    shared = _fit_sigmoid(logits.ravel(), targets.ravel())
    fitted = np.tile(shared, (logits.shape[1], 1))
    num_positive = targets.sum(0)
    is_fitted = np.minimum(num_positive, len(targets) - num_positive) >= MIN_RECORDS_PER_LABEL
    for label in np.flatnonzero(is_fitted):
        fitted[label] = _fit_sigmoid(logits[:, label], targets[:, label])
    return fitted[:, 0], fitted[:, 1]


def _fit_sigmoid(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return slope and intercept with the highest likelihood, given a weak prior around 1 and 0."""
    signs, weight = np.where(targets, 1.0, -1.0), _PRIOR_RECORDS / len(logits)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        log_slope, intercept = parameters
        slope = np.exp(log_slope)
        margins = signs * (slope * logits + intercept)
        # The derivative of log(1 + exp(-margin)).
        gradients = -signs * np.exp(-np.logaddexp(0, margins))
        penalty = weight * (log_slope**2 + intercept**2)
        value = np.mean(np.logaddexp(0, -margins)) + penalty
        slopes = np.array([np.mean(gradients * logits) * slope, np.mean(gradients)])
        return float(value), slopes + 2 * weight * parameters

    bound = np.log(1 / _MIN_TEMPERATURE)
    result = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-bound, bound), (-20, 20)])
    return np.array([np.exp(result.x[0]), result.x[1]])
