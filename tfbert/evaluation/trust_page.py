"""The section of the report page about when to trust a prediction, in sentences and plots."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tfbert.evaluation.drawing import ACCENT, MUTED, fraction_axis, new_axes, report_style, to_svg
from tfbert.evaluation.formatting import number, percent

_NO_PREDICTION = "no prediction"
_NOT_BETTER = " It did not help here: the calibration records happen to differ from these, or were too few."


def trust_view(details: Mapping) -> dict[str, Any] | None:
    """Return the sentences and plots of the section; `None` if nothing was measured.

    Args:
        details: as for `report_page.render`; `trust` has what `training.trust.measure` returned.
    """
    trust = details.get("trust") or {}
    if not trust:
        return None
    sentences = [
        *_calibration_sentences(trust.get("calibration")),
        *_set_sentences(trust.get("prediction_sets")),
        *_interval_sentences(trust.get("intervals")),
        *_abstention_sentences(trust.get("abstention"), trust.get("limitation")),
        *_domain_sentences(trust.get("domain")),
    ]
    if trust.get("split") == "validation":
        sentences.append(
            "There is no test split. These numbers are those of validation, which has chosen the weights, so they are "
            "too good."
        )
    selection = trust.get("selection")
    rows = [] if selection is None else [_used_row(row) for row in selection["used"]]
    plot = None if selection is None else _selection_plot(selection["points"])
    can_guarantee = trust.get("can_guarantee", False)
    return {
        "sentences": sentences,
        "can_guarantee": can_guarantee,
        "rows": rows,
        "plot": plot,
        "split": trust.get("split"),
    }


def _used_row(row: Mapping) -> dict[str, str]:
    """Return a row of the table of how many predictions can be used."""
    is_none = row["confidence"] is None
    return {
        "error": percent(row["error"], 0),
        "used": _NO_PREDICTION if is_none else percent(row["fraction"]),
        "confidence": "–" if is_none else percent(row["confidence"]),
    }


def _calibration_sentences(calibration: Mapping | None) -> list[str]:
    if calibration is None:
        return []
    before, after = (calibration[name]["calibration_error"] for name in ("before", "after"))
    return [
        f"Calibration on {number(calibration['num_calibration'])} other records changed the mean difference between "
        f"probability and accuracy from {percent(before['value'])} ({_interval(before)}) to {percent(after['value'])} "
        f"({_interval(after)}).{'' if after['value'] <= before['value'] else _NOT_BETTER}"
    ]


def _set_sentences(sets: Mapping | None) -> list[str]:
    if sets is None:
        return []
    covered = sets["covered"]
    sizes = {int(size): count for size, count in sets["sizes"].items()}
    single = sizes.get(1, 0) / covered["num_records"]
    return [
        f"Prediction sets should contain the right answer for {percent(sets['wanted'], 0)} of the texts; they do for "
        f"{percent(covered['value'])} ({_interval(covered)}). They have {sets['mean_size']:.2f} answers on average, "
        f"and {percent(single)} of them only one. {_sample_size(sets['expected'])} A set is never empty, so that "
        "sets cover at least as much as the single predictions."
    ]


def _interval_sentences(intervals: Mapping | None) -> list[str]:
    if intervals is None:
        return []
    covered = intervals["covered"]
    return [
        f"Intervals should contain the true number for {percent(intervals['wanted'], 0)} of the texts; they do for "
        f"{percent(covered['value'])} ({_interval(covered)}). They are {number(intervals['mean_width'])} wide. "
        f"{_sample_size(intervals['expected'])}"
    ]


def _sample_size(expected: Sequence[float]) -> str:
    low, high = expected
    return f"Calibration splits of this size give {percent(low)} to {percent(high)} in 95 of 100 cases."


def _abstention_sentences(abstention: Mapping | None, limitation: str | None) -> list[str]:
    if limitation:
        return [f"{limitation}."]
    if abstention is None:
        return []
    used, error = abstention["used"], abstention["error"]
    start = (
        f"At most {percent(abstention['wanted'])} of the predictions that are used should be wrong; for texts from the "
        "same source, that holds for 9 of 10 calibration splits."
    )
    if error is None:
        return [f"{start} The model abstained from every prediction."]
    return [
        f"{start} The model answers {percent(used['value'])} of the texts ({_interval(used)}) and abstains from the "
        f"others; {percent(error['value'])} of its answers are wrong ({_interval(error)})."
    ]


def _domain_sentences(domain: Mapping | None) -> list[str]:
    if domain is None:
        return []
    refused = domain["refused"]
    return [
        f"Of texts like those of train, at most about {percent(domain['significance'], 0)} should count as out of "
        f"domain (out_of_domain below {domain['significance']:g}); measured: {percent(refused['value'])} "
        f"({_interval(refused)}). Calibration splits of this size give {percent(domain['expected'][0])} to "
        f"{percent(domain['expected'][1])} in 95 of 100 cases."
    ]


def _interval(values: Mapping) -> str:
    return f"95% interval {percent(values['low'])} to {percent(values['high'])}"


def _selection_plot(points: Sequence[Sequence[float]]) -> Markup:
    """Draw the error among the most confident predictions by the fraction of predictions that are used."""
    fractions, errors = zip(*points, strict=True)
    with report_style():
        figure, axes = new_axes()
        axes.plot(fractions, errors, color=ACCENT, linewidth=1.6, drawstyle="steps-post")
        axes.axhline(errors[-1], color=MUTED, linewidth=1, linestyle="--", label="all predictions")
        axes.set(
            xlim=(0, 1),
            xlabel="predictions that are used, most confident first",
            title="Error by fraction of predictions used",
        )
        axes.set_ylim(bottom=0)
        axes.legend(loc="best")
        fraction_axis(axes)
        axes.xaxis.set_major_formatter(axes.yaxis.get_major_formatter())
        return to_svg(figure, "Errors by the fraction of predictions that are used")
