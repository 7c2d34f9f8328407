"""Printing the robustness of a model as tables."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfbert.commands.table import print_table

if TYPE_CHECKING:  # It imports Matplotlib, for which --help should not wait.
    from tfbert.evaluation.metric import Metric
    from tfbert.robustness.results import Effect, Interval, Robustness, WorstText

_MAX_WORST = 5


def print_robustness(robustness: "Robustness") -> None:
    """Print a table of the perturbations, a table of the texts with the worst predictions, and a summary."""
    metric, count = robustness.metric, robustness.num_examples
    score = f"{metric.format(robustness.score['value'])} ({_bounds(metric, robustness.score)})"
    print(f"\nrobustness on {count:,} examples: {metric.title} {score} on the original texts\n")
    changed = [effect for effect in robustness.effects if effect.num_changed]
    predictions = "changed predictions" if robustness.always_right else "mean change"
    columns = ["perturbation", "texts", "before", "after", "difference", predictions, "95% interval"]
    print_table(columns, [_row(effect, count, metric) for effect in changed])
    if unchanged := [effect.perturbation for effect in robustness.effects if not effect.num_changed]:
        print(f"\nchange no text: {', '.join(unchanged)}")
    _print_worst([(e.perturbation, text) for e in changed for text in e.worst], bool(robustness.always_right))
    if right := robustness.always_right:
        print(f"\nright for the original and all its variants: {_fraction(right)} of the texts")
    if worst_case := robustness.worst_case:
        print(
            f"\nworst case: typing errors in chosen words mislead the model for {_fraction(worst_case.success)} of "
            f"{worst_case.num_texts:,} texts that it predicts right, with at most {worst_case.max_queries} queries each"
        )
        _print_worst([("worst case", text) for text in worst_case.worst], True)


def _row(effect: "Effect", num_examples: int, metric: "Metric") -> list[str]:
    low, high = effect.difference["low"], effect.difference["high"]
    difference = metric.format_difference(effect.difference["value"], "+")
    if effect.flips:
        measured = [f"{100 * effect.flips['value']:.1f} %", f"{_percent_bounds(effect.flips)}"]
    else:
        measured = [metric.format(effect.change["value"]), _bounds(metric, effect.change)]
    return [
        effect.perturbation,
        f"{100 * effect.num_changed / num_examples:.0f} %",
        metric.format(effect.before["value"]),
        metric.format(effect.after["value"]),
        f"{difference} ({metric.format_difference_interval(low, high)})",
        *measured,
    ]


def _print_worst(texts: Sequence[tuple[str, "WorstText"]], have_labels: bool) -> None:
    """Print the texts with the highest confidence of a wrong prediction, or with the largest change of a number."""
    if not texts:
        return
    ranked = sorted(texts, key=lambda pair: -(pair[1].change or pair[1].confidence or 0.0))[:_MAX_WORST]
    title = "right for the original text, wrong for:" if have_labels else "largest changes:"
    print(f"\n{title}")
    for perturbation, text in ranked:
        confidence = "" if text.confidence is None else f" ({100 * text.confidence:.0f} %)"
        change = f"{text.gold} becomes {text.after}" if have_labels else f"{text.before} becomes {text.after}"
        print(f"  {' / '.join(text.perturbed)}")
        print(f"    {perturbation}, {text.where}: {change}{confidence}")


def _bounds(metric: "Metric", interval: "Interval") -> str:
    return metric.format_interval(interval["low"], interval["high"])


def _fraction(proportion: "Interval") -> str:
    return f"{100 * proportion['value']:.1f} % ({_percent_bounds(proportion)})"


def _percent_bounds(proportion: "Interval") -> str:
    return f"{100 * proportion['low']:.1f} to {100 * proportion['high']:.1f} %"
