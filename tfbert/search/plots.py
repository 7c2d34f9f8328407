"""Draw the plots of a search's report: trials in, inline SVG out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from tfbert.evaluation.drawing import ACCENT, INK, MUTED, new_axes, report_style, short_number, shorten, to_svg
from tfbert.evaluation.formatting import setting, words


def history(trials: Sequence[Mapping[str, Any]], objective: str, is_gain: bool) -> Markup:
    """Draw the score of each trial in their order, and the best so far.

    Args:
        trials: that have a `score`.
        objective: name of the metric.
        is_gain: whether more of it is better.
    """
    scores = np.asarray([trial["score"] for trial in trials], float)
    best = (np.maximum if is_gain else np.minimum).accumulate(scores) if len(scores) else scores
    title = f"{words(objective)} on validation by trial"
    with report_style():
        figure, axes = new_axes()
        order = np.arange(1, len(scores) + 1)
        axes.plot(order, scores, "o", color=ACCENT, markersize=4, label="trial")
        axes.step(order, best, where="post", color=INK, linewidth=1.4, label="best so far")
        axes.legend(loc="best")
        axes.margins(y=0.15)
        axes.set_title(title)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return to_svg(figure, title)


def by_value(trials: Sequence[Mapping[str, Any]], path: str, objective: str) -> Markup:
    """Draw the scores by the value of one hyperparameter; trials without it are left out.

    Args:
        trials: that have a `score`, with their `values`.
        path: of the hyperparameter.
        objective: name of the metric.
    """
    pairs = [(trial["values"][path], trial["score"]) for trial in trials if trial["values"].get(path) is not None]
    values, scores = [value for value, _ in pairs], [found for _, found in pairs]
    are_numbers = all(type(value) in (int, float) for value in values)
    title = f"{words(objective)} by {path}"
    with report_style():
        figure, axes = new_axes()
        few = list(dict.fromkeys(map(repr, values)))
        if are_numbers and len(few) > 6:
            axes.plot(values, scores, "o", color=ACCENT, markersize=4)
            if min(values) > 0 and max(values) / min(values) >= 10:
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
            axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
        else:
            known = sorted(set(values)) if are_numbers else list(dict.fromkeys(values))
            places = [known.index(value) for value in values]
            axes.plot(places, scores, "o", color=ACCENT, markersize=4)
            means = [
                np.mean([found for place, found in zip(places, scores, strict=True) if place == at])
                for at in range(len(known))
            ]
            axes.plot(range(len(known)), means, "_", color=MUTED, markersize=22, markeredgewidth=1.6)
            labels = [
                short_number(value) if isinstance(value, float) else shorten(setting(value), 12) for value in known
            ]
            axes.set_xticks(range(len(known)), labels)
            axes.set_xlim(-0.5, len(known) - 0.5)
        axes.margins(y=0.15)
        axes.set_title(title)
        return to_svg(figure, title)
