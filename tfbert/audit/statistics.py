"""Statistics of an audit: intervals of proportions, of means over clusters and of areas under ROC curves."""

from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn.metrics import roc_auc_score

CONFIDENCE = 0.95
# With fewer clusters, a mean over them has no useful interval.
MIN_CLUSTERS = 5


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval.

    Args:
        value: the estimate; NaN if it is undefined.
        low: the lower bound.
        high: the upper bound.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low > 0 or self.high < 0


def proportion(num_hits: int, number: int) -> Estimate:
    """Return a proportion with the interval of Clopper and Pearson.

    Args:
        num_hits: how many of them count.
        number: how many there are, at least one.
    """
    interval = stats.binomtest(num_hits, number).proportion_ci(CONFIDENCE)
    return Estimate(num_hits / number, float(interval.low), float(interval.high))


def cluster_mean(values: np.ndarray, clusters: np.ndarray, num_comparisons: int = 1) -> Estimate:
    """Return the mean of values with an interval for values that are similar within clusters.

    The interval is about other clusters too, for example other names. With fewer than `MIN_CLUSTERS` clusters, it is
    only about other texts with the same ones: every value is a cluster.

    Args:
        values: float64 `(values,)`, at least two.
        clusters: the cluster of each value, int `(values,)`.
        num_comparisons: number of intervals that are to contain their true values together with 95% probability.

    Source: Cameron and Miller 2015, "A practitioner's guide to cluster-robust inference", II.C, for the mean, with
        quantiles of Student's t for the number of clusters; Bonferroni's correction for several comparisons.
    """
    _, indices = np.unique(clusters, return_inverse=True)
    if indices.max() + 1 < MIN_CLUSTERS:
        indices = np.arange(len(values))
    number, mean = indices.max() + 1, float(values.mean())
    sums = np.bincount(indices, values - mean)
    error = np.sqrt(number / (number - 1) * np.square(sums).sum()) / len(values)
    distance = float(stats.t.isf((1 - CONFIDENCE) / (2 * num_comparisons), number - 1) * error)
    return Estimate(mean, mean - distance, mean + distance)


def area_under_curve(positive: np.ndarray, scores: np.ndarray) -> Estimate:
    """Return the area under the ROC curve; NaN without texts of both kinds.

    Args:
        positive: bool `(texts,)`.
        scores: float64 `(texts,)`.

    Source: Hanley and McNeil 1982, "The meaning and use of the area under a receiver operating characteristic curve".
    """
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not num_positive or not num_negative:
        return Estimate(np.nan, np.nan, np.nan)
    area = float(roc_auc_score(positive, scores))
    by_positive, by_negative = area / (2 - area) - area**2, 2 * area**2 / (1 + area) - area**2
    variance = area * (1 - area) + (num_positive - 1) * by_positive + (num_negative - 1) * by_negative
    distance = float(stats.norm.isf((1 - CONFIDENCE) / 2) * np.sqrt(max(variance, 0) / (num_positive * num_negative)))
    return Estimate(area, max(area - distance, 0.0), min(area + distance, 1.0))
