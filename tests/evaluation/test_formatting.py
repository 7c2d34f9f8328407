"""Formatting of numbers, names and settings for reports and logs."""

import numpy as np
import pytest

from tfbert.evaluation import formatting
from tfbert.evaluation.classification import ACCURACY


@pytest.mark.parametrize(
    "function, value, text",
    [
        (formatting.percent, 0.925, "92.5 %"),
        (formatting.percent, None, "–"),
        (formatting.percent, float("nan"), "–"),
        (formatting.number, 12345, "12,345"),
        (formatting.number, 0.0002, "2e-4"),
        (formatting.number, 0.23456, "0.235"),
        (formatting.duration, 59.96, "1 min 00 s"),
        (formatting.duration, 7500, "2 h 05 min"),
        (formatting.size, 1_500_000, "2 MB"),
        (formatting.words, "hidden_dim", "hidden dim"),
    ],
)
def test_formatted_text(function, value, text):
    assert function(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (200, "3 min 20 s"), (3599.6, "1 h 00 min")]
)
def test_durations_have_at_most_two_units(seconds, text):
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1400, "1 kB"), (1.4e9, "1.4 GB"), (2.5e12, "2,500.0 GB")],
)
def test_sizes_use_powers_of_1000(num_bytes, text):
    assert formatting.size(num_bytes) == text


def test_numbers_of_any_kind():
    assert formatting.number(np.float32(0.5)) == "0.5"
    assert formatting.number(float("inf")) == "inf"
    assert formatting.number(None) == "–"
    assert formatting.percent(0.125, 0) == "12 %" and formatting.percent(0.9996) == "100.0 %"


def test_score_line():
    assert formatting.score_line({"accuracy": 0.918, "loss": 0.27721}) == "accuracy 0.9180  loss 0.2772"
    assert formatting.score_line({}) == ""


def test_long_labels_may_wrap_and_are_escaped():
    assert formatting.breakable("short_one") == "short_one"
    assert formatting.breakable("card_payment_fee_<b>") == "card_<wbr>payment_<wbr>fee_<wbr>&lt;b&gt;"
    assert formatting.breakable("/data/banking/train.csv") == "/<wbr>data/<wbr>banking/<wbr>train.csv"


METRICS = {"accuracy": {"value": 0.87654, "low": 0.81, "high": 0.93}}


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"test": {"metrics": METRICS}}, "test accuracy     0.8765  (95% interval 0.8100 to 0.9300)"),
        ({"validation": {"metrics": METRICS}}, "validation accuracy     0.8765  (95% interval 0.8100 to 0.9300)"),
        ({}, "no test and no validation split: no scores"),
        (
            {"test": {"metrics": METRICS}, "seeds": {"test": {"accuracy": {"mean": 0.86, "std": 0.012}}}},
            "test accuracy     0.8765  (95% interval 0.8100 to 0.9300)   0.8600 ± 0.0120 over seeds",
        ),
    ],
)
def test_the_summary_of_a_report_has_a_line_per_metric(report, expected):
    assert formatting.summary({"test": None, "validation": None, "seeds": None} | report) == expected


def test_the_summary_names_the_baselines_that_were_scored():
    metrics = [ACCURACY.to_json(), {"name": "f1", "better": "higher", "unit": "fraction", "description": "F1"}]
    baselines = [
        {"name": "constant", "title": "always a", "test": {"accuracy": 0.25}},
        {"name": "untrained", "title": "frozen encoder", "validation": {"accuracy": 0.5}},
    ]
    report = {"test": {"metrics": METRICS}, "seeds": None, "metrics": metrics, "baselines": baselines}
    report["config"] = {"train": {"monitor": None}}
    assert formatting.summary(report).splitlines()[1:] == ["baseline accuracy     0.2500  always a"]
    del baselines[0]
    assert len(formatting.summary(report).splitlines()) == 1


def test_numbers_in_cells_are_recognised():
    assert all(map(formatting.is_number, ["1,234", "-0.5", "2e-4", "75.4 %", "1.2 s", "0.5 GB", "–", ""]))
    assert not any(map(formatting.is_number, ["2026-01-02", "12 b", "0.1 to 0.2", "1 min 20 s", "refund"]))
