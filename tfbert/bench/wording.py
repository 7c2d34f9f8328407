"""Scores of several trainings in, a cell of a table out."""

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float]) -> str:
    """Return the mean of some scores, with the standard deviation and their number if there are several."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f} ({len(values)} trainings)"
