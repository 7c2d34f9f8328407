"""What every plot of the report is drawn with: matplotlib figures in, inline SVG out.

The SVG keeps text as text and takes every colour from the page's CSS variables, so one drawing serves light and dark.
"""

import html
import io
import re
import unicodedata
import warnings

import matplotlib.style
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Colours are placeholders: `to_svg` turns each into the CSS variable of its name.
INK, MUTED, LINE, PAPER, ACCENT, WARN = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", PAPER: "paper", ACCENT: "accent", WARN: "warn"}

_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a label may hold dollar signs
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
    """Return `name` on one line, its middle replaced by an ellipsis where it is longer than `max_length`."""
    name = " ".join("".join(c if c.isprintable() else " " for c in str(name)).split())
    tail = max_length // 2 - 1
    return name if len(name) <= max_length else f"{name[: max_length - tail - 1]}…{name[-tail:]}"


def text_em(text: str) -> float:
    """Estimate the width of `text` in ems of a sans-serif font; Chinese, Japanese and Korean take a whole em."""
    return sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.62 for c in text)


def short_number(value: float) -> str:
    """Return a number as a person writes it, such as `2e-4` or `0.05`."""
    if value == 0 or 0.001 <= abs(value) < 10_000:
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def report_style():
    """Return a context in which matplotlib draws for this page, whatever the user's own settings are."""
    return matplotlib.style.context(_STYLE, after_reset=True)


def new_axes(width: float = WIDTH_POINTS, height: float = _HEIGHT_POINTS) -> tuple[Figure, Axes]:
    """Return a figure of that many points with one pair of axes."""
    figure = Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH), layout="constrained")
    return figure, figure.subplots()


def to_svg(figure: Figure, title: str) -> Markup:
    """Return the figure as an `<svg>` element that takes font and colours from the page around it."""
    buffer = io.StringIO()
    # Identifiers are hashed with this salt; two plots on one page must not share any.
    with matplotlib.rc_context({"svg.hashsalt": title}), warnings.catch_warnings():
        # The browser draws the text, with its own fonts; what matplotlib's font lacks does not matter.
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
    """Return one SVG tag without group names and fonts, its colours turned into CSS variables."""
    if tag.startswith("<g "):
        tag = re.sub(r' id="[^"]*"', "", tag)
    # Depending on its release, matplotlib writes the font's names after the size or on their own.
    tag = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", re.sub(r"font-family: [^;\"]*;? ?", "", tag))
    return re.sub("|".join(_VARIABLES), lambda color: f"var(--{_VARIABLES[color.group()]})", tag)
