"""Scores of several trainings, or times of several repeats, in; a cell of a table out."""

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float]) -> str:
    """Return the mean of some scores, with the standard deviation and their number if there are several."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f} ({len(values)} trainings)"


def median_range(values: Sequence[float], form: str) -> str:
    """Return the median of some values with the lowest and the highest, each in a format."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Return the median over repeats of one divided by the other."""
    return statistics.median(n / d for n, d in zip(numerators, denominators, strict=True))
