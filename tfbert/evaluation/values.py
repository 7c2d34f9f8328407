"""Evaluation of regression: correlations, mean absolute error, plots, errors by range and mistakes.

Each score is a function of the weights of the records, so that bootstrap resampling needs no sorting. Tests compare the
scores with scipy's.
"""

from collections.abc import Callable

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from tfbert.evaluation import drawing, metrics
from tfbert.evaluation.metric import Evaluation, Metric, Outcome, ScoreFunction

# More points would enlarge the page without showing more.
_MAX_POINTS = 1500
_NUM_RANGES = 5

SPEARMAN = Metric(
    "spearman",
    "higher",
    "correlation",
    "rank correlation of predicted and true values: 0 is none, 1 is perfect",
    title="Spearman correlation",
)
PEARSON = Metric(
    "pearson",
    "higher",
    "correlation",
    "linear correlation of predicted and true values: 0 is none, 1 is perfect",
    title="Pearson correlation",
)
MAE = Metric(
    "mae",
    "lower",
    "target",
    "mean absolute error, in the units of the data",
    every_epoch=False,
    title="MAE",
    forecast="predictions for similar texts to be off by {} on average",
)
LOSS = Metric("loss", "lower", "variance", "mean squared error, in units of the variance of the training values")
METRICS = (SPEARMAN, PEARSON, MAE, LOSS)


class ValueEvaluation(Evaluation):
    """One predicted and one true number for each record.

    Args:
        predicted: float `(records,)`.
        gold: the true values, float `(records,)`.
        scale: the standard deviation of the training values.
    """

    def __init__(self, predicted: np.ndarray, gold: np.ndarray, scale: float):
        self._values, self._scale = Values(gold, predicted), scale

    def values(self) -> dict[str, float]:
        """Return both correlations, and the mean squared error relative to the variance of the training values."""
        weights = np.ones(len(self._values.true), np.int64)
        return {
            SPEARMAN.name: self._values.spearman(weights),
            PEARSON.name: self._values.pearson(weights),
            LOSS.name: float(np.mean(self._errors() ** 2)),
        }

    def intervals(self) -> dict[str, dict[str, float]]:
        """Return both correlations and the mean absolute error with their intervals."""
        return {name: self._values.with_interval(score) for name, score in self._functions().items()}

    def score_functions(self) -> dict[str, ScoreFunction]:
        """Return a function for each metric that computes it on resampled records."""
        squares = self._errors() ** 2
        functions = {name: metrics.of_records(score, len(squares)) for name, score in self._functions().items()}
        return functions | {LOSS.name: lambda records: float(squares[records].mean())}

    def record_scores(self) -> np.ndarray:
        """Return 1 minus the absolute error of each record, in standard deviations of the training values."""
        return 1 - np.abs(self._errors())

    def outcome(self, record: int) -> Outcome:
        """Return the true and the predicted value of a record."""
        return self._values.outcome(record)

    def _functions(self) -> dict[str, Callable[[np.ndarray], float]]:
        measured = self._values
        return {SPEARMAN.name: measured.spearman, PEARSON.name: measured.pearson, MAE.name: measured.mae}

    def _errors(self) -> np.ndarray:
        """Return the error of each record in standard deviations of the training values."""
        return (self._values.predicted - self._values.true) / self._scale

    def sections(self) -> dict:
        """Return plots of values and errors, and errors by range."""
        scatter_caption = (
            "Points on the dashed line are correct. A flat cloud means that predictions hardly depend on the text."
        )
        error_caption = (
            "A mean far from 0 suggests that these texts have higher or lower values than the training texts."
        )
        return {
            "figures": [
                {"title": "Predicted and true values", "svg": scatter(self._values), "caption": scatter_caption},
                {"title": "Errors", "svg": residual_histogram(self._values), "caption": error_caption},
            ],
            "tables": [self._values.error_table()],
        }

    def mistakes(self) -> list[int]:
        """Return the records with an error, largest first."""
        return self._values.mistakes()


class Values:
    """The true and the predicted values of the records of a split.

    Args:
        true: float `(records,)`, at least one.
        predicted: float `(records,)`.
    """

    def __init__(self, true: np.ndarray, predicted: np.ndarray):
        self.true, self.predicted = true.astype(np.float64), predicted.astype(np.float64)
        self._groups = [np.unique(values, return_inverse=True)[1] for values in (self.true, self.predicted)]

    def pearson(self, weights: np.ndarray) -> float:
        """Return the linear correlation; 0 where it is undefined because all true or all predicted values are equal.

        Args:
            weights: how often each record counts, int `(records,)`.
        """
        return _correlation(self.true, self.predicted, weights)

    def spearman(self, weights: np.ndarray) -> float:
        """Return the correlation of the ranks, where ties have their mean rank; 0 where it is undefined."""
        return _correlation(*(_ranks(groups, weights) for groups in self._groups), weights)

    def mae(self, weights: np.ndarray) -> float:
        """Return the mean absolute error."""
        return float(weights @ np.abs(self.predicted - self.true) / weights.sum())

    def with_interval(self, score: Callable[[np.ndarray], float]) -> dict[str, float]:
        """Return a score, one of the methods above, with its 95% bootstrap interval."""
        num_records = len(self.true)
        return metrics.resampled(metrics.of_records(score, num_records), num_records, is_fraction=False)

    def rank_errors(self) -> np.ndarray:
        """Return the difference of the ranks of the two values of each record, as a fraction of the records."""
        weights = np.ones(len(self.true), np.int64)
        true, predicted = (_ranks(groups, weights) for groups in self._groups)
        return np.abs(true - predicted) / len(weights)

    def outcome(self, record: int) -> Outcome:
        """Return the true and the predicted value of a record."""
        return Outcome(drawing.short_number(self.true[record]), drawing.short_number(self.predicted[record]))

    def mistakes(self) -> list[int]:
        """Return the records with an error, largest first."""
        errors = np.abs(self.predicted - self.true)
        return [int(record) for record in np.argsort(-errors, kind="stable") if errors[record] > 0]

    def error_table(self) -> dict:
        """Return a table of the errors in up to five ranges of the true value, of about equal numbers of records."""
        range_edges = np.unique(np.quantile(self.true, np.linspace(0, 1, _NUM_RANGES + 1)))
        range_of = np.clip(np.searchsorted(range_edges, self.true, side="right") - 1, 0, max(len(range_edges) - 2, 0))
        rows = []
        for index in np.unique(range_of):
            is_in_range = range_of == index
            true, predicted = self.true[is_in_range], self.predicted[is_in_range]
            name = f"{drawing.short_number(true.min())} to {drawing.short_number(true.max())}"
            error = predicted - true
            row = [name, len(true), true.mean(), predicted.mean(), error.mean(), np.abs(error).mean()]
            rows.append([float(cell) if isinstance(cell, np.floating) else cell for cell in row])
        columns = ["true value", "texts", "mean true", "mean predicted", "mean error", "mean absolute error"]
        caption = (
            "If low values are predicted too high and high ones too low, the model explains only part of the variation."
        )
        return {"title": "Errors by true value", "columns": columns, "rows": rows, "caption": caption}


def scatter(values: Values) -> Markup:
    """Draw a scatter plot of predicted against true values; a large split is sampled at random."""
    shown = slice(None)
    if len(values.true) > _MAX_POINTS:
        shown = np.random.default_rng(0).choice(len(values.true), _MAX_POINTS, replace=False)
    limits = [min(values.true.min(), values.predicted.min()), max(values.true.max(), values.predicted.max())]
    with drawing.report_style():
        figure, axes = drawing.new_axes(width=300, height=290)
        axes.plot(limits, limits, color=drawing.MUTED, linewidth=1, linestyle="--", label="predicted = true")
        style = {"color": drawing.ACCENT, "alpha": 0.35, "linewidth": 0}
        axes.scatter(values.true[shown], values.predicted[shown], s=14, **style)
        axes.set(title="Predicted against true values", xlabel="true", ylabel="predicted")
        axes.legend(loc="upper left")
        return drawing.to_svg(figure, "Predicted against true values")


def residual_histogram(values: Values) -> Markup:
    """Draw a histogram of the signed errors."""
    errors = values.predicted - values.true
    limit = max(float(np.abs(errors).max()), np.finfo(np.float32).tiny)
    with drawing.report_style():
        figure, axes = drawing.new_axes()
        # The number of bins is odd, so that the middle one is centred on 0.
        axes.hist(errors, np.linspace(-limit, limit, 32), color=drawing.ACCENT, alpha=0.6)
        axes.axvline(0, color=drawing.MUTED, linewidth=1, linestyle="--")
        axes.axvline(errors.mean(), color=drawing.WARN, linewidth=1.4, label="mean")
        axes.set(title="Texts by error", xlabel="predicted minus true value")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.legend(loc="best")
        return drawing.to_svg(figure, "Texts by error")


def _correlation(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> float:
    # The mean of equal values may differ from them in the last digit, which would make them seem to vary.
    is_counted = weights > 0
    if np.ptp(first[is_counted]) == 0 or np.ptp(second[is_counted]) == 0:
        return 0.0
    first, second = (values - weights @ values / weights.sum() for values in (first, second))
    # Scaled so that the squares of very large or very small values neither overflow nor vanish.
    first, second = (values / np.abs(values).max() for values in (first, second))
    norm = np.sqrt((weights @ first**2) * (weights @ second**2))
    return float(np.clip(weights @ (first * second) / norm, -1, 1))


def _ranks(groups: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the 1-based rank of each record; ties have their mean rank.

    Args:
        groups: the index of each record's value among the sorted distinct values.
        weights: how often each record counts.
    """
    sizes = np.bincount(groups, weights)
    return (np.cumsum(sizes) - (sizes - 1) / 2)[groups]
