"""The sentences about trust on the report page."""

import numpy as np
import pytest

from tfbert.evaluation import trust
from tfbert.evaluation.metric import Confidences
from tfbert.evaluation.trust_page import trust_view

CONFIDENCES = Confidences(np.linspace(0.4, 1, 100), np.arange(100) >= 10)
VALUE = {"value": 0.05, "low": 0.01, "high": 0.1}


def view_of(**measured):
    return trust_view({"trust": {"split": "test", **measured}})


def test_there_is_no_section_without_measurements():
    assert trust_view({}) is trust_view({"trust": {}}) is None


@pytest.mark.parametrize(
    ("measured", "phrases"),
    [
        (
            {"calibration": trust.calibration(CONFIDENCES, CONFIDENCES, 1234)},
            ["Calibration on 1,234 other records changed the mean difference", "(95% interval "],
        ),
        (
            {"prediction_sets": trust.prediction_sets(np.array([1, 3]), np.array([True, False]), 0.9, (0.85, 0.94))},
            ["for 90 % of the texts; they do for 50.0 %", "2.00 answers on average, and 50.0 % of them only one",
             "Calibration splits of this size give 85.0 % to 94.0 %"],
        ),
        (
            {"intervals": trust.intervals(np.zeros(2), np.ones(2), np.array([True, True]), 0.8, (0.7, 0.9))},
            ["contain the true number for 80 % of the texts; they do for 100.0 %", "They are 1 wide"],
        ),
        (
            {"abstention": trust.abstention(np.arange(50) < 10, np.arange(50) % 20 > 0, 0.1)},
            ["At most 10.0 % of the predictions that are used", "The model answers 80.0 % of the texts"],
        ),
        (
            {"abstention": trust.abstention(np.ones(5, bool), np.ones(5, bool), 0.1)},
            ["The model abstained from every prediction."],
        ),
        (
            {"abstention": trust.abstention(np.ones(5, bool), np.ones(5, bool), 0.1), "limitation": "No threshold"},
            ["No threshold."],
        ),
        ({"domain": trust.domain(np.linspace(0, 1, 100), 0.05, 500)}, ["out_of_domain below 0.05", "measured: 5.0 %"]),
    ],
)  # fmt: skip
def test_measurements_become_sentences(measured, phrases):
    (sentence,) = view_of(**measured)["sentences"]
    assert all(phrase in sentence for phrase in phrases)


@pytest.mark.parametrize("can_guarantee", [True, False])
def test_the_page_advises_only_options_that_the_task_has(can_guarantee):
    assert (
        view_of(selection=trust.selection(CONFIDENCES), can_guarantee=can_guarantee)["can_guarantee"] == can_guarantee
    )


def test_a_calibration_that_did_not_help_and_a_missing_test_split_are_named():
    worse = {"before": {"calibration_error": VALUE | {"value": 0.01}}, "after": {"calibration_error": VALUE}}
    measured = {"calibration": worse | {"num_calibration": 30}, "split": "validation"}
    calibration, missing = view_of(**measured)["sentences"]
    assert "It did not help here" in calibration and "There is no test split" in missing


def test_the_table_and_the_plot_show_the_errors_of_used_predictions():
    view = view_of(selection=trust.selection(CONFIDENCES))
    assert [row["error"] for row in view["rows"]] == ["1 %", "2 %", "5 %", "10 %"]
    assert view["rows"][0]["used"] == "90.0 %" and view["plot"].startswith("<svg") and not view["sentences"]
    few = view_of(selection=trust.selection(Confidences(np.linspace(0.4, 1, 100), np.zeros(100, bool))))
    assert few["rows"][0] == {"error": "1 %", "used": "no prediction", "confidence": "–"}
