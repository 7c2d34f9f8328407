"""How fast several ways do the same work in; one picture of it, as a file, out."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

_OURS, _THEIRS, _RANGE = "#1b6ac9", "#b8bec6", "#3a3f45"
_WIDTH, _BAR, _TITLE = 8.0, 0.32, 0.75  # inches


@dataclass(frozen=True)
class Speed:
    """One bar.

    Args:
        work: what is done; bars of the same work stand together.
        way: who does it.
        values: of the repeats, at least one; more is better.
        is_ours: whether tfbert does it.
    """

    work: str
    way: str
    values: Sequence[float]
    is_ours: bool


def draw(speeds: Sequence[Speed], unit: str, path: Path) -> None:
    """Write a bar for each way, its median, with a line from the lowest to the highest of its repeats.

    Args:
        speeds: in the order in which they are shown.
        unit: of the values, such as "texts a second".
        path: of an SVG file; the directory exists.
    """
    by_work: dict[str, list[Speed]] = {}
    for speed in speeds:
        by_work.setdefault(speed.work, []).append(speed)
    heights = [_TITLE + _BAR * len(bars) for bars in by_work.values()]
    figure = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
    panels = figure.subplots(len(by_work), squeeze=False, height_ratios=heights)[:, 0]
    for axes, (work, bars) in zip(panels, by_work.items(), strict=True):
        medians = np.array([statistics.median(bar.values) for bar in bars])
        ends = np.array([[min(bar.values), max(bar.values)] for bar in bars]).T
        places = np.arange(len(bars))[::-1]
        axes.barh(places, medians, color=[_OURS if bar.is_ours else _THEIRS for bar in bars])
        axes.errorbar(medians, places, xerr=abs(ends - medians), fmt="none", ecolor=_RANGE, elinewidth=1, capsize=3)
        for place, median, end in zip(places, medians, ends[1], strict=True):
            axes.annotate(f"{median:,.3g}" if median < 100 else f"{median:,.0f}", (end, place), (5, 0),
                          textcoords="offset points", va="center", fontsize=8)  # fmt: skip
        axes.set_yticks(places, [bar.way for bar in bars], fontsize=8)
        axes.set_title(f"{work}: {unit}", loc="left", fontsize=10)
        axes.set_xlim(0, 1.12 * ends.max())
        axes.tick_params(axis="x", labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
