"""Plots of the report: learning curves, confusion matrix, reliability diagram and text lengths, as inline SVG."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tfbert.evaluation.drawing import (
    ACCENT,
    INK,
    LINE,
    MUTED,
    PAPER,
    POINTS_PER_INCH,
    WARN,
    WIDTH_POINTS,
    PercentFormatter,
    fraction_axis,
    new_axes,
    report_style,
    short_number,
    shorten,
    text_em,
    to_svg,
)
from tfbert.evaluation.metric import Metric
from tfbert.evaluation.text_table import link

# An embedded picture cannot read CSS variables, so its two colours are visible on white and on black.
_PICTURE_RIGHT, _PICTURE_WRONG = (58, 134, 209), (224, 112, 26)

_MAX_POINTS, _MAX_UNSMOOTHED = 400, 50
_CELL_FONT, _NAME_FONT = 7, 8


def learning_curves(
    history: Sequence[Mapping],
    step_losses: Sequence,
    series: Mapping,
    kept_epochs: Sequence[int],
    is_fraction: bool = True,
) -> list:
    """Draw the loss, the validation metrics and the learning rate of a training, as far as they are known.

    Args:
        history: one mapping per epoch, as in `report.json`.
        step_losses: (step, loss) pairs; empty draws the mean losses of the epochs.
        series: scores by epoch (`None` if not measured) for each metric; epoch 0 means before training.
        kept_epochs: the epochs whose weights, or the average of them, were kept.
        is_fraction: whether scores are shown as percentages.

    Returns:
        The plots as SVG, in order.
    """
    epochs = [row["epoch"] for row in history]
    pairs = np.array([pair for pair in step_losses or [] if np.isfinite(pair[1])], dtype=float).reshape(-1, 2)
    plots = []
    with report_style():
        if len(pairs) or any(row.get("loss") is not None for row in history):
            plots.append(_loss_curve(history, pairs))
        if series:
            plots.append(_metric_curve(series, kept_epochs, is_fraction))
        rates = [row.get("learning_rate") for row in history]
        # The only point of a single epoch is the end of the schedule.
        if len(rates) > 1 and None not in rates:
            figure, axes = new_axes(height=110)
            axes.plot(epochs, rates, color=MUTED, linewidth=1.4, marker="o", markersize=3)
            axes.set_title("Learning rate by epoch")
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_locator(MaxNLocator(3))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
            _epoch_axis(axes, epochs)
            plots.append(to_svg(figure, "Learning rate by epoch"))
    return plots


def _loss_curve(history: Sequence[Mapping], pairs: np.ndarray) -> Markup:
    """Draw the raw and the smoothed loss by step, and the validation loss at the end of each epoch."""
    figure, axes = new_axes()
    if by_step := len(pairs) > 0:
        steps, losses = _thin(pairs)
        axes.plot(steps, losses, color=ACCENT, linewidth=0.8, alpha=0.3)
        axes.plot(steps, smooth(losses), color=ACCENT, linewidth=1.8, label="training, smoothed")
        end = pairs[-1, 0] / max(len(history), 1)
    else:
        rows = [(row["epoch"], row["loss"]) for row in history if row.get("loss") is not None]
        axes.plot(*zip(*rows, strict=True), color=ACCENT, linewidth=1.8, marker="o", markersize=4, label="training")
        end = 1
    # All epochs have the same number of steps.
    measured = [(i * end, (row.get("validation") or {}).get("loss")) for i, row in enumerate(history, start=1)]
    measured = [pair for pair in measured if pair[1] is not None and np.isfinite(pair[1])]
    if measured:
        axes.plot(
            *zip(*measured, strict=True), color=WARN, linestyle="--", marker="s", markersize=4, label="validation"
        )
        axes.legend(loc="best")
    axes.set_ylim(bottom=0)
    axes.set_title("Loss by step" if by_step else "Loss by epoch")
    if by_step:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    else:
        _epoch_axis(axes, [row["epoch"] for row in history])
    return to_svg(figure, "Training and validation loss")


def _metric_curve(series: Mapping[str, Mapping[int, float]], kept_epochs: Sequence[int], is_fraction: bool) -> Markup:
    """Draw validation metrics by epoch and mark the epochs whose weights were kept."""
    figure, axes = new_axes()
    epochs = list(next(iter(series.values())))
    styles = [(ACCENT, "-", "o"), (INK, "--", "s"), (MUTED, ":", "^")]
    for (name, values), (color, line, marker) in zip(series.items(), styles, strict=False):
        scores = [np.nan if value is None else value for value in values.values()]
        axes.plot(epochs, scores, color=color, linestyle=line, marker=marker, markersize=4, linewidth=1.6, label=name)
    label = "weights averaged" if len(kept_epochs) > 1 else "weights kept"
    for index, epoch in enumerate(kept_epochs):
        style = {"color": WARN, "linewidth": 1.2, "linestyle": ":"}
        axes.axvline(epoch, label="" if index else label, **style)
    axes.legend(loc="best")
    axes.margins(y=0.15)
    axes.set_title("Validation metrics by epoch")
    if is_fraction:
        fraction_axis(axes)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    _epoch_axis(axes, epochs)
    return to_svg(figure, "Validation metrics by epoch")


def lines(
    title: str, series: Mapping[str, Sequence], *, is_fraction: bool = False, vertical_line: tuple | None = None
) -> Markup:
    """Draw up to three series of values by update.

    Args:
        title: title of the plot.
        series: `(update, value)` pairs by name; more than 50 pairs are drawn smoothed, over the raw values.
        is_fraction: whether values are shown as percentages, from zero.
        vertical_line: the update at which to draw a vertical line, and its label.
    """
    with report_style():
        figure, axes = new_axes()
        styles = [(ACCENT, "-", "o"), (INK, "--", "s"), (MUTED, ":", "^")]
        for (name, values), (color, line, marker) in zip(series.items(), styles, strict=False):
            pairs = np.array(values, dtype=float).reshape(-1, 2)
            if len(pairs) > _MAX_UNSMOOTHED:
                updates, raw = _thin(pairs)
                axes.plot(updates, raw, color=color, linewidth=0.8, alpha=0.3)
                axes.plot(updates, smooth(raw), color=color, linestyle=line, linewidth=1.8, label=name)
            else:
                style = {"color": color, "linestyle": line, "marker": marker, "markersize": 4}
                axes.plot(*pairs.T, linewidth=1.6, label=name, **style)
        if vertical_line:
            update, label = vertical_line
            axes.axvline(update, color=WARN, linewidth=1.2, linestyle=":", label=label)
        axes.legend(loc="best")
        axes.set_title(title)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        if is_fraction:
            axes.set_ylim(bottom=0)
            fraction_axis(axes)
        return to_svg(figure, title)


def training_sizes(points: Sequence[Mapping], metric: Metric) -> Markup:
    """Draw the score by number of labelled examples.

    Args:
        points: mappings with `num_examples` and `scores`, one per fitted head.
        metric: the metric of the scores.
    """
    sizes = [point["num_examples"] for point in points]
    with report_style():
        figure, axes = new_axes()
        axes.plot(sizes, [np.mean(point["scores"]) for point in points], color=ACCENT, linewidth=1.6)
        pairs = [(point["num_examples"], score) for point in points for score in point["scores"]]
        axes.plot(*zip(*pairs, strict=True), "o", color=ACCENT, markersize=4)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.set_xticks([], minor=True)
        axes.margins(y=0.15)
        axes.set(title=f"{metric.title} on validation by number of labelled examples", xlabel="labelled examples")
        score_axis(axes, metric)
        return to_svg(figure, "Score by number of labelled examples")


def score_axis(axes: Axes, metric: Metric) -> None:
    """Show scores on the y axis, on which everything is drawn already, in the unit of their metric."""
    if metric.unit == "fraction":
        fraction_axis(axes)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: metric.format(value)))


def heat_map(counts: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> Markup:
    """Draw a confusion matrix with counts, its cells shaded by their fraction of the row.

    Cells of two different labels are links to the mistakes with these labels.

    Args:
        counts: int `(len(rows), len(columns))`; the diagonal counts correct predictions.
        rows: true labels.
        columns: predicted labels, starting with `rows`.
    """
    labels, rows, columns = rows, [shorten(name) for name in rows], [shorten(name) for name in columns]
    row_points, column_points = ([text_em(name) * _NAME_FONT for name in names] for names in (rows, columns))
    corner, num_columns = "true ↓  predicted →", len(columns)
    left = max(*row_points, text_em(corner) * _NAME_FONT) + 10
    # Column names are rotated by 45 degrees; the last ones extend beyond the matrix.
    right = max(8, 0.71 * max(column_points[-3:]) - 4)
    cell = min(38, max(12.5, (640 - left - right) / num_columns))
    is_horizontal = max(column_points) < cell - 4
    top = 14 if is_horizontal else 0.71 * max(column_points) + 12
    width, height = left + num_columns * cell + right, top + len(rows) * cell + 4
    with report_style():
        figure = Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH))
        axes = figure.add_axes((left / width, 4 / height, num_columns * cell / width, len(rows) * cell / height))
        axes.set(xlim=(0, num_columns), ylim=(len(rows), 0), xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.hlines(range(len(rows) + 1), 0, num_columns, color=LINE, linewidth=0.5, clip_on=False)
        axes.vlines(range(num_columns + 1), 0, len(rows), color=LINE, linewidth=0.5, clip_on=False)
        total = np.maximum(np.asarray(counts).sum(axis=1, keepdims=True), 1)
        for (i, j), fraction in np.ndenumerate(np.asarray(counts) / total):
            if counts[i, j]:
                is_confused = i != j and j < len(labels)
                url = link("mistakes", {"true": labels[i], "predicted": labels[j]}) if is_confused else None
                _cell(axes, (i, j), int(counts[i, j]), fraction, url)
        style = {"xycoords": "data", "textcoords": "offset points", "fontsize": _NAME_FONT, "annotation_clip": False}
        for i, name in enumerate(rows):
            axes.annotate(name, (0, i + 0.5), (-6, 0), ha="right", va="center", **style)
        for j, name in enumerate(columns):
            rotation = {"ha": "center"} if is_horizontal else {"ha": "left", "rotation": 45, "rotation_mode": "anchor"}
            axes.annotate(name, (j + 0.5, 0), (0, 5), va="baseline", **rotation, **style)
        axes.annotate(corner, (0, 0), (-6, 5), ha="right", va="baseline", color=MUTED, **style)
        return to_svg(figure, "Confusion matrix: rows true, columns predicted")


def _cell(axes: Axes, position: tuple[int, int], count: int, fraction: float, url: str | None) -> None:
    """Draw one cell of a heat map; the square root of the fraction keeps rare mistakes visible."""
    row, column = position
    shade = 0.08 + 0.92 * fraction**0.5
    color = ACCENT if row == column else WARN
    style = {"color": color, "alpha": round(shade, 2), "linewidth": 0, "clip_on": False, "url": url}
    axes.add_patch(Rectangle((column, row), 1, 1, **style))
    ink = PAPER if shade > 0.6 else INK
    style = {"ha": "center", "va": "center_baseline", "fontsize": _CELL_FONT, "color": ink, "url": url}
    axes.text(column + 0.5, row + 0.5, f"{count}", **style)


def matrix_picture(confusion: np.ndarray) -> Markup:
    """Draw a whole confusion matrix small and without names; correct predictions are blue, mistakes orange."""
    confusion = np.asarray(confusion)
    fraction = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    pixels = np.zeros((*confusion.shape, 4), np.uint8)
    pixels[..., :3] = _PICTURE_WRONG
    np.einsum("iic->ic", pixels)[:, :3] = _PICTURE_RIGHT
    pixels[..., 3] = np.where(confusion > 0, 255 * (0.45 + 0.55 * np.sqrt(fraction)), 0)
    with report_style():
        figure, axes = new_axes(width=330, height=330)
        axes.imshow(pixels, interpolation="none")
        axes.set(xticks=[], yticks=[], xlabel="predicted", ylabel="true")
        axes.spines[:].set_visible(True)
        return to_svg(figure, "The whole confusion matrix")


def reliability(bins: Sequence[Mapping], before: Sequence[Mapping] = ()) -> Markup:
    """Draw a reliability diagram: accuracy by predicted probability, and a histogram of the probabilities.

    Args:
        bins: mappings with `low`, `high`, `num_examples`, `mean_probability`, `accuracy`; the last two may be `None`
            in empty bins.
        before: the same before calibration; empty if the probabilities are not calibrated.
    """
    filled = [row for row in bins if row["num_examples"]]
    with report_style():
        figure = Figure(figsize=(WIDTH_POINTS / POINTS_PER_INCH, 300 / POINTS_PER_INCH), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2.4, 1])
        top.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--", label="calibrated")
        uncalibrated = [(row["mean_probability"], row["accuracy"]) for row in before if row["num_examples"] >= 10]
        if uncalibrated:
            x, y = zip(*uncalibrated, strict=True)
            top.plot(x, y, "s:", color=WARN, linewidth=1.2, markersize=4, label="before calibration")
        styles = ((True, "o-", ACCENT, "10 examples or more"), (False, "o", PAPER, "fewer than 10"))
        for has_many, line, face, name in styles:
            kept = [row for row in filled if (row["num_examples"] >= 10) == has_many]
            if kept:
                x, y = [row["mean_probability"] for row in kept], [row["accuracy"] for row in kept]
                top.plot(x, y, line, color=ACCENT, linewidth=1.6, markersize=5, markerfacecolor=face, label=name)
        top.set(xlim=(0, 1), ylim=(-0.02, 1.03), title="Accuracy by predicted probability")
        top.legend(loc="best")
        widths = [row["high"] - row["low"] for row in bins]
        counts = [row["num_examples"] for row in bins]
        bottom.bar([row["low"] for row in bins], counts, widths, align="edge", color=ACCENT, edgecolor=PAPER)
        bottom.set_title("Examples by predicted probability")
        bottom.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        bottom.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        for axis in (top.yaxis, bottom.xaxis):
            axis.set_major_formatter(PercentFormatter())
        return to_svg(figure, "Reliability diagram")


def length_histogram(lengths: Mapping[str, np.ndarray], sequence_length: int | None) -> Markup:
    """Draw a histogram of text lengths for each split, and the length at which texts are truncated.

    Args:
        lengths: int `(texts,)` by split, in tokens; no array is empty.
        sequence_length: length at which texts are truncated; `None` if they are not. Not drawn if far beyond all texts.
    """
    longest = max(int(np.max(values)) for values in lengths.values())
    edge = max(float(np.percentile(values, 99.5)) for values in lengths.values())
    if shows_truncation := sequence_length is not None and sequence_length <= 2 * longest:
        edge = max(1.1 * sequence_length, min(edge, 4 * sequence_length))
    num_bins = int(min(40, max(edge, 4)))
    bins = np.linspace(0, max(edge, 4) + 1, num_bins + 1)
    styles = [{"color": ACCENT, "alpha": 0.45, "histtype": "stepfilled"}]
    styles += [{"color": color, "linestyle": line, "histtype": "step"} for color, line in ((INK, "-"), (MUTED, "--"))]
    with report_style():
        figure, axes = new_axes(width=1.4 * WIDTH_POINTS)
        for (split, values), style in zip(lengths.items(), styles, strict=False):
            values = np.minimum(values, bins[-1])
            axes.hist(values, bins, weights=np.full(len(values), 1 / len(values)), linewidth=1.3, label=split, **style)
        if shows_truncation:
            label = f"truncated at {sequence_length:,} tokens"
            axes.axvline(sequence_length, color=WARN, linewidth=1.6, linestyle="--", label=label)
        axes.set(xlim=(0, bins[-1]), xlabel="tokens" + (", longer texts in the last bar" if longest > bins[-1] else ""))
        axes.set_title("Fraction of texts by length")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(PercentFormatter())
        axes.legend(loc="best")
        return to_svg(figure, "Lengths of the texts in tokens")


def _epoch_axis(axes: Axes, epochs: Sequence[int]) -> None:
    """Show whole epochs on the x axis, with a margin at both ends."""
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.set_xlim(min(epochs) - 0.3, max(epochs) + 0.3)


def _thin(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average neighbouring points so that at most `_MAX_POINTS` remain."""
    groups = np.array_split(pairs, min(len(pairs), _MAX_POINTS))
    return tuple(np.array([group.mean(axis=0) for group in groups]).T)


def smooth(values: np.ndarray) -> np.ndarray:
    """Return the centred moving average over about a twentieth of the values; the window shrinks at both ends."""
    window = np.ones(2 * (len(values) // 40) + 1)
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")
