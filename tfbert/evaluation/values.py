"""True and predicted numbers in; correlations, distances, plots and a table of errors out.

Scores are equal to scipy's by test. They are functions of how often each record counts, so that a resampled split
costs no sorting.
"""

from collections.abc import Callable

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from tfbert.evaluation import drawing, metrics

# More points than that make a page heavy and show nothing more.
_MOST_POINTS = 1500
_NUM_RANGES, _MOST_MISTAKES = 5, 30


class Values:
    """The numbers of every record of a split.

    Args:
        true: float `(records,)`, at least one.
        predicted: likewise.
    """

    def __init__(self, true: np.ndarray, predicted: np.ndarray):
        self.true, self.predicted = true.astype(np.float64), predicted.astype(np.float64)
        self._groups = [np.unique(values, return_inverse=True)[1] for values in (self.true, self.predicted)]

    def pearson(self, weights: np.ndarray) -> float:
        """Return the linear correlation; 0 where it is not defined, which is where all values are equal.

        Args:
            weights: how often each record counts, int `(records,)`.
        """
        return _correlation(self.true, self.predicted, weights)

    def spearman(self, weights: np.ndarray) -> float:
        """Return the correlation of the ranks, equal values sharing their mean rank; 0 where it is not defined."""
        return _correlation(*(_ranks(groups, weights) for groups in self._groups), weights)

    def mae(self, weights: np.ndarray) -> float:
        """Return the mean distance of the predicted value from the true one."""
        return float(weights @ np.abs(self.predicted - self.true) / weights.sum())

    def with_interval(self, score: Callable[[np.ndarray], float]) -> dict[str, float]:
        """Return a score of these values, one of the methods above, with its 95 % bootstrap interval."""
        number = len(self.true)
        return metrics.resampled(lambda records: score(np.bincount(records, minlength=number)), number)

    def worst(self) -> dict[int, dict]:
        """Return the records whose prediction is furthest off, furthest first, as `Task.details` wants them."""
        distance = np.abs(self.predicted - self.true)
        order = [int(i) for i in np.argsort(-distance, kind="stable")[:_MOST_MISTAKES] if distance[i] > 0]
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
        """Return the errors in up to five ranges of the true value, of about as many records each, as a table."""
        edges = np.unique(np.quantile(self.true, np.linspace(0, 1, _NUM_RANGES + 1)))
        which = np.clip(np.searchsorted(edges, self.true, side="right") - 1, 0, max(len(edges) - 2, 0))
        rows = []
        for part in np.unique(which):
            inside = which == part
            true, predicted = self.true[inside], self.predicted[inside]
            ends = f"{drawing.short_number(true.min())} to {drawing.short_number(true.max())}"
            error = predicted - true
            row = [ends, len(true), true.mean(), predicted.mean(), error.mean(), np.abs(error).mean()]
            rows.append([float(cell) if isinstance(cell, np.floating) else cell for cell in row])
        columns = ["true value", "texts", "mean true", "mean predicted", "mean error", "mean distance"]
        caption = "Low values predicted too high and high ones too low: the model knows less than the values vary."
        return {"title": "Errors by true value", "columns": columns, "rows": rows, "caption": caption}


def scatter(values: Values) -> Markup:
    """Draw predicted against true values, on a line where they are equal; of many records, some by chance."""
    shown = slice(None)
    if len(values.true) > _MOST_POINTS:
        shown = np.random.default_rng(0).choice(len(values.true), _MOST_POINTS, replace=False)
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
    """Draw how far off the predictions are, and to which side."""
    errors = values.predicted - values.true
    reach = max(float(np.abs(errors).max()), np.finfo(np.float32).tiny)
    with drawing.report_style():
        figure, axes = drawing.new_axes()
        # An odd number of bins puts the middle one around no error at all.
        axes.hist(errors, np.linspace(-reach, reach, 32), color=drawing.ACCENT, alpha=0.6)
        axes.axvline(0, color=drawing.MUTED, linewidth=1, linestyle="--")
        axes.axvline(errors.mean(), color=drawing.WARN, linewidth=1.4, label="mean")
        axes.set(title="Texts by predicted minus true value", xlabel="predicted minus true")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.legend(loc="best")
        return drawing.to_svg(figure, "Texts by predicted minus true value")


def _correlation(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> float:
    # Values that are all equal have a mean that may differ from them in the last digit, and so would vary.
    there = weights > 0
    if np.ptp(first[there]) == 0 or np.ptp(second[there]) == 0:
        return 0.0
    first, second = (values - weights @ values / weights.sum() for values in (first, second))
    # Each scaled by its largest, so that squares of very large or small values stay numbers.
    first, second = (values / np.abs(values).max() for values in (first, second))
    spread = np.sqrt((weights @ first**2) * (weights @ second**2))
    return float(np.clip(weights @ (first * second) / spread, -1, 1))


def _ranks(groups: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the rank of each record from 1, the mean one among equals, where records count more than once."""
    sizes = np.bincount(groups, weights)
    return (np.cumsum(sizes) - (sizes - 1) / 2)[groups]
