"""Evaluation of numbers: correlations, mean absolute error, plots, errors by range and the worst predictions.

Tests compare the scores with scipy's. They are functions of how often each record counts, so that resampling a split
for an interval needs no sorting.
"""

from collections.abc import Callable

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from tfbert.evaluation import drawing, metrics
from tfbert.evaluation.metric import Evaluation, Metric

# More points make the page large without showing more.
_MAX_POINTS = 1500
_NUM_RANGES, _WORST_MISTAKES = 5, 30

SPEARMAN = Metric(
    "spearman",
    "higher",
    "correlation",
    "rank correlation of predicted and true values: 0 is none, 1 is perfect",
)
PEARSON = Metric(
    "pearson", "higher", "correlation", "linear correlation of predicted and true values: 0 is none, 1 is perfect"
)
MAE = Metric("mae", "lower", "target", "mean absolute error, in the units of the data", every_epoch=False)
LOSS = Metric("loss", "lower", "variance", "mean squared error, in units of the variance of the training values")
METRICS = (SPEARMAN, PEARSON, MAE, LOSS)


class ValueEvaluation(Evaluation):
    """One predicted and one true number for each record.

    Args:
        predicted: float `(records,)`.
        gold: the true values, float `(records,)`.
        scale: the standard deviation of the values of train.
    """

    def __init__(self, predicted: np.ndarray, gold: np.ndarray, scale: float):
        self._values, self._scale = Values(gold, predicted), scale

    def values(self) -> dict[str, float]:
        """Return the correlations and the mean squared error in squared standard deviations."""
        once = np.ones(len(self._values.true), np.int64)
        errors = (self._values.predicted - self._values.true) / self._scale
        return {
            "spearman": self._values.spearman(once),
            "pearson": self._values.pearson(once),
            "loss": float(np.mean(errors**2)),
        }

    def intervals(self) -> dict[str, dict[str, float]]:
        """Return both correlations and the mean absolute error with their intervals."""
        functions = {"spearman": self._values.spearman, "pearson": self._values.pearson, "mae": self._values.mae}
        return {name: self._values.with_interval(score) for name, score in functions.items()}

    def sections(self) -> dict:
        """Return plots of values and errors, errors by range, and the predictions that are furthest off."""
        against = "Points on the dashed line are right. A flat cloud means that the model hardly tells the texts apart."
        errors = "A mean far from 0: the values of these texts lie elsewhere than those of train."
        return {
            "figures": [
                {"title": "Predicted and true values", "svg": scatter(self._values), "caption": against},
                {"title": "Errors", "svg": residual_histogram(self._values), "caption": errors},
            ],
            "tables": [self._values.error_table()],
            "worst": self._values.worst(),
        }


class Values:
    """The true and the predicted numbers of the records of a split.

    Args:
        true: float `(records,)`, at least one.
        predicted: float `(records,)`.
    """

    def __init__(self, true: np.ndarray, predicted: np.ndarray):
        self.true, self.predicted = true.astype(np.float64), predicted.astype(np.float64)
        self._groups = [np.unique(values, return_inverse=True)[1] for values in (self.true, self.predicted)]

    def pearson(self, weights: np.ndarray) -> float:
        """Return the linear correlation; 0 if it is not defined because all values are equal.

        Args:
            weights: how often each record counts, int `(records,)`.
        """
        return _correlation(self.true, self.predicted, weights)

    def spearman(self, weights: np.ndarray) -> float:
        """Return the correlation of the ranks, where equal values share their mean rank; 0 if it is not defined."""
        return _correlation(*(_ranks(groups, weights) for groups in self._groups), weights)

    def mae(self, weights: np.ndarray) -> float:
        """Return the mean absolute error."""
        return float(weights @ np.abs(self.predicted - self.true) / weights.sum())

    def with_interval(self, score: Callable[[np.ndarray], float]) -> dict[str, float]:
        """Return one of the scores above with its 95 % bootstrap interval."""
        number = len(self.true)
        return metrics.resampled(lambda records: score(np.bincount(records, minlength=number)), number)

    def worst(self) -> dict[int, dict]:
        """Return the records with the largest errors, largest first, for `sections`."""
        distance = np.abs(self.predicted - self.true)
        order = [int(i) for i in np.argsort(-distance, kind="stable")[:_WORST_MISTAKES] if distance[i] > 0]
        return {
            index: {
                "label": drawing.short_number(self.true[index]),
                "predicted": drawing.short_number(self.predicted[index]),
                "probability": None,
                "label_probability": None,
            }
            for index in order
        }

    def error_table(self) -> dict:
        """Return a table of the errors in up to five ranges of the true value with about equally many records."""
        edges = np.unique(np.quantile(self.true, np.linspace(0, 1, _NUM_RANGES + 1)))
        range_of = np.clip(np.searchsorted(edges, self.true, side="right") - 1, 0, max(len(edges) - 2, 0))
        rows = []
        for index in np.unique(range_of):
            inside = range_of == index
            true, predicted = self.true[inside], self.predicted[inside]
            ends = f"{drawing.short_number(true.min())} to {drawing.short_number(true.max())}"
            error = predicted - true
            row = [ends, len(true), true.mean(), predicted.mean(), error.mean(), np.abs(error).mean()]
            rows.append([float(cell) if isinstance(cell, np.floating) else cell for cell in row])
        columns = ["true value", "texts", "mean true", "mean predicted", "mean error", "mean distance"]
        caption = "Low values predicted too high and high ones too low: the model knows less than the values vary."
        return {"title": "Errors by true value", "columns": columns, "rows": rows, "caption": caption}


def scatter(values: Values) -> Markup:
    """Draw predicted against true values, of many records a random sample."""
    shown = slice(None)
    if len(values.true) > _MAX_POINTS:
        shown = np.random.default_rng(0).choice(len(values.true), _MAX_POINTS, replace=False)
    ends = [min(values.true.min(), values.predicted.min()), max(values.true.max(), values.predicted.max())]
    with drawing.report_style():
        figure, axes = drawing.new_axes(width=300, height=290)
        axes.plot(ends, ends, color=drawing.MUTED, linewidth=1, linestyle="--", label="predicted = true")
        look = {"color": drawing.ACCENT, "alpha": 0.35, "linewidth": 0}
        axes.scatter(values.true[shown], values.predicted[shown], s=14, **look)
        axes.set(title="Predicted by true value", xlabel="true", ylabel="predicted")
        axes.legend(loc="upper left")
        return drawing.to_svg(figure, "Predicted by true value")


def residual_histogram(values: Values) -> Markup:
    """Draw a histogram of the errors with their signs."""
    errors = values.predicted - values.true
    reach = max(float(np.abs(errors).max()), np.finfo(np.float32).tiny)
    with drawing.report_style():
        figure, axes = drawing.new_axes()
        # The middle one of an odd number of bins is centred on 0.
        axes.hist(errors, np.linspace(-reach, reach, 32), color=drawing.ACCENT, alpha=0.6)
        axes.axvline(0, color=drawing.MUTED, linewidth=1, linestyle="--")
        axes.axvline(errors.mean(), color=drawing.WARN, linewidth=1.4, label="mean")
        axes.set(title="Texts by predicted minus true value", xlabel="predicted minus true")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.legend(loc="best")
        return drawing.to_svg(figure, "Texts by predicted minus true value")


def _correlation(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> float:
    # The mean of equal values may differ from them in the last digit, and they would seem to vary.
    counted = weights > 0
    if np.ptp(first[counted]) == 0 or np.ptp(second[counted]) == 0:
        return 0.0
    first, second = (values - weights @ values / weights.sum() for values in (first, second))
    # Scaled so that the squares of very large or very small values neither overflow nor vanish.
    first, second = (values / np.abs(values).max() for values in (first, second))
    spread = np.sqrt((weights @ first**2) * (weights @ second**2))
    return float(np.clip(weights @ (first * second) / spread, -1, 1))


def _ranks(groups: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the 1-based rank of each record; equal values share their mean rank.

    Args:
        groups: the index of each record's value among the sorted distinct values.
        weights: how often each record counts.
    """
    sizes = np.bincount(groups, weights)
    return (np.cumsum(sizes) - (sizes - 1) / 2)[groups]
