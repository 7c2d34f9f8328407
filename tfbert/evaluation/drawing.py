"""Drawing style of all plots, and conversion of matplotlib figures to inline SVG.

Text stays text, and all colours are CSS variables of the page, so one drawing serves the light and the dark theme.
"""

import html
import io
import re
import unicodedata
import warnings
from collections.abc import Sequence

import matplotlib.style
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, MaxNLocator

# Placeholder colours, which `to_svg` replaces by CSS variables.
INK, MUTED, LINE, PAPER, ACCENT, WARN = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", PAPER: "paper", ACCENT: "accent", WARN: "warn"}

_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a label may contain dollar signs
    "axes.unicode_minus": False,
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
}
POINTS_PER_INCH = 72
WIDTH_POINTS, _HEIGHT_POINTS = 310, 195


def shorten(name: str, max_length: int = 30) -> str:
    """Return a name on one line; if it is longer than `max_length`, an ellipsis replaces its middle."""
    name = " ".join("".join(c if c.isprintable() else " " for c in str(name)).split())
    tail = max_length // 2 - 1
    return name if len(name) <= max_length else f"{name[: max_length - tail - 1]}…{name[-tail:]}"


def text_em(text: str) -> float:
    """Estimate the width of a text in ems of a sans-serif font; a Chinese, Japanese or Korean character has one em."""
    return sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.62 for c in text)


def short_number(value: float) -> str:
    """Return a number in a short form, such as `2e-4` or `0.05`."""
    if value == 0 or 0.001 <= abs(value) < 10_000:
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def report_style():
    """Return a context in which matplotlib uses the style of the report instead of the user's settings."""
    return matplotlib.style.context(_STYLE, after_reset=True)


def new_axes(width: float = WIDTH_POINTS, height: float = _HEIGHT_POINTS) -> tuple[Figure, Axes]:
    """Return a figure of a width and height in points, and its axes."""
    figure = Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH), layout="constrained")
    return figure, figure.subplots()


class PercentFormatter(Formatter):
    """Formats the ticks of an axis of fractions as percentages, with as many decimals as tell the ticks apart."""

    _num_decimals = 0

    def set_locs(self, locs: Sequence[float]) -> None:
        """Choose the number of decimals for the positions of all ticks."""
        percentages = [100 * location for location in locs]
        enough = (n for n in range(4) if all(abs(round(value, n) - value) < 1e-6 for value in percentages))
        self._num_decimals = next(enough, 4)

    def __call__(self, value: float, position: int | None = None) -> str:
        """Return the label of a tick."""
        return f"{100 * value:.{self._num_decimals}f} %"


def fraction_axis(axes: Axes, num_ticks: int = 5) -> None:
    """Show the y axis, on which everything is drawn already, as percentages that do not leave 0 to 100 %."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0), min(high, 1))
    # Markers of 0 and 100 % are drawn whole.
    for line in axes.get_lines():
        line.set_clip_on(False)
    axes.yaxis.set_major_locator(MaxNLocator(num_ticks, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter())


def to_svg(figure: Figure, title: str) -> Markup:
    """Return a figure as an `<svg>` element that inherits font and colours from the page."""
    buffer = io.StringIO()
    # The salt makes identifiers differ between the plots of a page.
    with matplotlib.rc_context({"svg.hashsalt": title}), warnings.catch_warnings():
        # The browser draws the text with its own fonts, so glyphs that matplotlib's font lacks do not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="svg", transparent=True)
    drawing = buffer.getvalue()
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing[drawing.index("<svg") :], flags=re.DOTALL)
    drawing = re.sub(r"<[^<>]+>", lambda tag: _restyle(tag.group()), drawing)
    width, height = (figure.get_size_inches() * 96).round(1)
    view_box = re.search(r'viewBox="[^"]*"', drawing).group()
    size = f'width="{width}" height="{height}" {view_box}'
    head = f'<svg class="plot" role="img" aria-label="{html.escape(title)}" {size}>'
    return Markup(head + drawing[drawing.index(">") + 1 :].strip())


def _restyle(tag: str) -> str:
    """Return one SVG tag without group names and fonts, and with CSS variables for colours."""
    if tag.startswith("<g "):
        tag = re.sub(r' id="[^"]*"', "", tag)
    # Depending on its version, matplotlib writes the font family after the size or separately.
    tag = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", re.sub(r"font-family: [^;\"]*;? ?", "", tag))
    return re.sub("|".join(_VARIABLES), lambda color: f"var(--{_VARIABLES[color.group()]})", tag)
