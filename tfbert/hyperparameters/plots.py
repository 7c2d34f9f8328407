"""Plots of a search's report: scores by trial and by hyperparameter, as inline SVG."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from tfbert.evaluation.drawing import ACCENT, INK, MUTED, new_axes, report_style, short_number, shorten, to_svg
from tfbert.evaluation.metric import Metric
from tfbert.evaluation.plots import score_axis
from tfbert.fields import as_typed


def history(trials: Sequence[Mapping[str, Any]], metric: Metric) -> Markup:
    """Draw the score of each trial and the best score so far.

    Args:
        trials: trials with an `id` and a `score`, in order.
        metric: the objective of the search.
    """
    scores = np.asarray([trial["score"] for trial in trials], float)
    best = (np.maximum if metric.better == "higher" else np.minimum).accumulate(scores) if len(scores) else scores
    title = f"{metric.title} on validation by trial"
    with report_style():
        figure, axes = new_axes()
        order = [int(trial["id"]) for trial in trials]
        axes.plot(order, scores, "o", color=ACCENT, markersize=4, label="trial")
        axes.step(order, best, where="post", color=INK, linewidth=1.4, label="best so far")
        axes.legend(loc="best")
        axes.margins(y=0.15)
        axes.set_title(title)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        score_axis(axes, metric)
        return to_svg(figure, title)


def by_value(trials: Sequence[Mapping[str, Any]], path: str, metric: Metric) -> Markup:
    """Draw the scores by the value of one hyperparameter; trials without the value are omitted.

    Args:
        trials: trials with a `score` and their `values`.
        path: config path of the hyperparameter.
        metric: the objective of the search.
    """
    pairs = [(trial["values"][path], trial["score"]) for trial in trials if trial["values"].get(path) is not None]
    values, scores = [value for value, _ in pairs], [score for _, score in pairs]
    are_numbers = all(type(value) in (int, float) for value in values)
    title = f"{metric.title} by {path}"
    with report_style():
        figure, axes = new_axes()
        num_distinct = len(set(map(repr, values)))
        if are_numbers and num_distinct > 6:
            axes.plot(values, scores, "o", color=ACCENT, markersize=4)
            if min(values) > 0 and max(values) / min(values) >= 10:
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
            axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
        else:
            distinct = sorted(set(values)) if are_numbers else list(dict.fromkeys(values))
            positions = [distinct.index(value) for value in values]
            axes.plot(positions, scores, "o", color=ACCENT, markersize=4)
            means = [
                np.mean([score for position, score in zip(positions, scores, strict=True) if position == index])
                for index in range(len(distinct))
            ]
            axes.plot(range(len(distinct)), means, "_", color=MUTED, markersize=22, markeredgewidth=1.6)
            labels = [
                short_number(value) if isinstance(value, float) else shorten(as_typed(value), 12) for value in distinct
            ]
            axes.set_xticks(range(len(distinct)), labels)
            axes.set_xlim(-0.5, len(distinct) - 0.5)
        axes.margins(y=0.15)
        axes.set_title(title)
        score_axis(axes, metric)
        return to_svg(figure, title)
