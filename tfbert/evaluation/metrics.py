"""Scores of a confusion matrix, bootstrap confidence intervals, and reliability (calibration).

Tests compare the scores with scikit-learn's. Intervals are percentiles of the score over resampled test sets.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from sklearn import metrics as sklearn_metrics

_RESAMPLES = 1000
_CONFIDENCE = 0.95


def confusion_matrix(targets: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Return counts `(num_classes, num_classes)`: true labels in rows, predicted labels in columns."""
    return sklearn_metrics.confusion_matrix(targets, predicted, labels=np.arange(num_classes))


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Return the fraction of correct predictions of a confusion matrix `(..., classes, classes)`."""
    return np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum((-2, -1))


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Return F1 averaged over the labels that occur as true or predicted label, scikit-learn's default.

    Args:
        confusion: counts `(..., classes, classes)`.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(-1) + confusion.sum(-2)
    occurs = total > 0
    return (2 * hits / np.maximum(total, 1)).sum(-1) / occurs.sum(-1)


def matthews(confusion: np.ndarray) -> np.ndarray:
    """Return the Matthews correlation coefficient for any number of labels; 0 where it is undefined.

    Source: Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".
    """
    confusion = confusion.astype(np.float64)
    count = confusion.sum((-2, -1))
    hits = np.trace(confusion, axis1=-2, axis2=-1)
    true, predicted = confusion.sum(-1), confusion.sum(-2)
    covariance = hits * count - (true * predicted).sum(-1)
    spread = (count**2 - (true**2).sum(-1)) * (count**2 - (predicted**2).sum(-1))
    return np.where(spread > 0, covariance / np.sqrt(np.maximum(spread, 1)), 0.0)


def with_interval(
    score: Callable[[np.ndarray], np.ndarray], confusion: np.ndarray, *, is_fraction: bool = True
) -> dict[str, float]:
    """Return a score of the confusion matrix with its 95% bootstrap interval.

    Resampling the test set only changes the counts of the cells, so cells are drawn instead of examples. The random
    seed is fixed: the same predictions give the same interval.

    Args:
        score: function from confusion matrices `(..., classes, classes)` to scores `(...)`.
        confusion: counts `(classes, classes)`, not all zero.
        is_fraction: whether the score is a fraction of the examples, or a mean of such fractions.

    Returns:
        `value`, `low`, `high`.
    """
    filled = np.flatnonzero(confusion)
    counts = confusion.ravel()[filled]
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(_RESAMPLES):
        sample = np.zeros(confusion.size, np.int64)
        sample[filled] = rng.multinomial(counts.sum(), counts / counts.sum())
        scores.append(score(sample.reshape(confusion.shape)))
    value = float(score(confusion))
    return {"value": value, **bounds(scores, value, int(counts.sum()) if is_fraction else None)}


def resampled(score: Callable[[np.ndarray], float], num_records: int, *, is_fraction: bool = True) -> dict[str, float]:
    """Return a score of records with its 95% bootstrap interval over records, with a fixed random seed.

    Args:
        score: function from indices of records, with repetitions, to the score of these records.
        num_records: number of records, at least one.
        is_fraction: as for `with_interval`.

    Returns:
        `value`, `low`, `high`.
    """
    rng = np.random.default_rng(0)
    scores = [score(rng.integers(0, num_records, num_records)) for _ in range(_RESAMPLES)]
    value = float(score(np.arange(num_records)))
    return {"value": value, **bounds(scores, value, num_records if is_fraction else None)}


def of_records(score: Callable[[np.ndarray], float], num_records: int) -> Callable[[np.ndarray], float]:
    """Return a score as a function of the indices of records, with repetitions.

    Args:
        score: function from how often each record counts, int `(records,)`, to the score.
        num_records: number of records.
    """
    return lambda records: score(np.bincount(records, minlength=num_records))


def proportion(count: int, total: int) -> dict[str, float]:
    """Return the `count`, the fraction `value` of a total that it is, and the bounds `low`, `high` of its 95% interval.

    Args:
        count: the number of records with a property.
        total: the number of all records, at least one.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    z2 = 1.959964**2
    value = count / total
    center = (value + z2 / (2 * total)) / (1 + z2 / total)
    distance = math.sqrt(z2 * (value * (1 - value) / total + z2 / (4 * total**2))) / (1 + z2 / total)
    return {"count": count, "value": value, "low": max(0.0, center - distance), "high": min(1.0, center + distance)}


def bounds(resampled_scores: Sequence[float], value: float, num_records: int | None = None) -> dict[str, float]:
    """Return `low` and `high` of the 95% percentile interval of resampled scores, extended to contain the value.

    If all or no records are right, resamples do not differ, and the bounds are those of a binomial proportion.

    Args:
        resampled_scores: the score of each resample.
        value: the score of all records.
        num_records: number of records of a score that is a fraction; `None` for any other score.

    Source: Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the
        binomial".
    """
    if num_records is not None and value in (0, 1) and np.ptp([*resampled_scores, value]) == 0:
        distance = 1 - ((1 - _CONFIDENCE) / 2) ** (1 / num_records)
        return {"low": max(0.0, value - distance), "high": min(1.0, value + distance)}
    tail = 50 * (1 - _CONFIDENCE)
    low, high = np.percentile(resampled_scores, [tail, 100 - tail])
    return {"low": min(float(low), value), "high": max(float(high), value)}


def per_label(confusion: np.ndarray, labels: Sequence[str]) -> dict[str, dict]:
    """Return the scores of every label, as `label_scores` does."""
    return label_scores(labels, np.diagonal(confusion), confusion.sum(1), confusion.sum(0))


def label_scores(labels: Sequence[str], hits: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> dict[str, dict]:
    """Return F1, precision, recall and counts of every label; a ratio with denominator 0 is 0.

    Args:
        labels: names by id.
        hits: number of correct predictions of each label, `(labels,)`.
        true: number of examples with each label.
        predicted: number of examples that are predicted to have each label.
    """
    return {
        label: {
            "f1": float(2 * hits[index] / max(true[index] + predicted[index], 1)),
            "precision": float(hits[index] / max(predicted[index], 1)),
            "recall": float(hits[index] / max(true[index], 1)),
            "num_examples": int(true[index]),
            "num_predicted": int(predicted[index]),
        }
        for index, label in enumerate(labels)
    }


def reliability(targets: np.ndarray, probabilities: np.ndarray, num_bins: int = 10) -> dict:
    """Return the reliability of predicting the most probable class.

    Args:
        targets: true classes, int `(examples,)`, not empty.
        probabilities: float `(examples, classes)`.
        num_bins: number of equal bins of the highest probability.

    Returns:
        As for `reliability_of`.
    """
    return reliability_of(probabilities.max(1), probabilities.argmax(1) == targets, num_bins)


def reliability_of(confidences: np.ndarray, is_right: np.ndarray, num_bins: int = 10) -> dict:
    """Return the reliability of predictions: accuracy by probability, and the expected calibration error.

    Args:
        confidences: the probability of each prediction, `(predictions,)`.
        is_right: whether each prediction is correct, bool `(predictions,)`.
        num_bins: number of equal bins of the probability.

    Returns:
        `bins`, each with `low`, `high`, `num_examples`, `mean_probability` and `accuracy`; and `calibration_error`, the
        mean difference between probability and accuracy, weighted by the predictions in each bin.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2.
    """
    bin_of = np.minimum((confidences * num_bins).astype(int), num_bins - 1)
    bins, error = [], 0.0
    for index in range(num_bins):
        inside = bin_of == index
        count = int(inside.sum())
        mean = float(confidences[inside].mean()) if count else 0.0
        accuracy_inside = float(is_right[inside].mean()) if count else 0.0
        error += count / max(len(confidences), 1) * abs(mean - accuracy_inside)
        bins.append(
            {
                "low": index / num_bins,
                "high": (index + 1) / num_bins,
                "num_examples": count,
                "mean_probability": mean,
                "accuracy": accuracy_inside,
            }
        )
    return {"bins": bins, "calibration_error": error}
