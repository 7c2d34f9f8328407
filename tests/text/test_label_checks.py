"""Label checks: look-alikes, equal numbers, placeholders for missing values, and joined labels."""

import json
import unicodedata

import pytest

from tfbert.config import DataConfig
from tfbert.tasks.base import load_task
from tfbert.text.checks import Labelling, check
from tfbert.text.label_checks import label_warnings
from tfbert.text.splits import load_splits

HINT = "(labels of one cell are separated by ; or |)"


def warnings_of(*labels, several=True):
    """Return the warnings about the labels of records; the first record is on line 2."""
    counts, locations = {}, {}
    for line, label in enumerate(labels, start=2):
        counts[label] = counts.get(label, 0) + 1
        locations.setdefault(label, f"train.csv:{line}")
    return tuple(line for line, _ in label_warnings(dict(sorted(counts.items())), locations, len(labels), several))


@pytest.mark.parametrize(
    ("odd", "plain", "difference"),
    [
        ("delivery\u200b", "delivery", "U+200B ZERO WIDTH SPACE (only in the second)"),
        ("\ufeffdelivery", "delivery", "U+FEFF ZERO WIDTH NO-BREAK SPACE (only in the second)"),
        ("deli\u00advery", "delivery", "U+00AD SOFT HYPHEN (only in the second)"),
        ("can’t pay", "can't pay", "U+0027 APOSTROPHE against U+2019 RIGHT SINGLE QUOTATION MARK"),
        ("top—up", "top-up", "U+002D HYPHEN-MINUS against U+2014 EM DASH"),
        ("Ａ", "A", "U+0041 LATIN CAPITAL LETTER A against U+FF21 FULLWIDTH LATIN CAPITAL LETTER A"),
        (
            unicodedata.normalize("NFD", "é"),
            "é",
            "U+0065 LATIN SMALL LETTER E, U+0301 COMBINING ACUTE ACCENT against U+00E9 LATIN SMALL LETTER E WITH ACUTE",
        ),
    ],
)
def test_labels_that_look_alike_are_reported_with_their_difference(odd, plain, difference):
    locations = {odd: "train.csv:2", plain: "train.csv:3"}
    first, other = sorted([odd, plain])
    expected = f"labels {first!r} ({locations[first]}) and {other!r} ({locations[other]}) look alike but differ in "
    assert warnings_of(odd, plain, "x") == (f"{expected}{difference}",)


def test_labels_that_differ_only_in_case_or_spaces():
    assert warnings_of("Lost card", "lost  card", "x") == (
        "labels 'Lost card' (train.csv:2) and 'lost  card' (train.csv:3) differ only in case or spaces",
    )


def test_labels_that_are_equal_numbers():
    assert warnings_of("1", "1.0", "2", "01", "-1", "1e0x") == (
        "labels '01' (train.csv:5) and '1' (train.csv:2) are the same number",
        "labels '01' (train.csv:5) and '1.0' (train.csv:3) are the same number",
    )
    # They differ only beyond the precision of a float.
    assert warnings_of("12345678901234567890", "12345678901234567891") == ()


def test_placeholders_for_missing_values():
    assert warnings_of("nan", "a", "nan", "N/A", "NULL", "<NA>") == (
        "labels '<NA>' (1 record, first train.csv:7), 'N/A' (1 record, first train.csv:5), "
        "'NULL' (1 record, first train.csv:6), 'nan' (2 records, first train.csv:2) often stand for a "
        "missing value: remove these records if their label is unknown",
    )
    assert warnings_of("a", "b", "None") == (
        "label 'None' (1 record, first train.csv:4) often stands for a missing value: remove these "
        "records if their label is unknown",
    )
    assert warnings_of("none", "neutral", "other", "unknown", "Na") == ()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        # No part is itself a label, but every part is in two labels.
        (
            ["food,staff", "noise,food", "staff, noise"],
            f"3 labels look like several joined by commas: 'food,staff' (1 record, first train.csv:2), "
            f"'noise,food' (1 record, first train.csv:3), 'staff, noise' (1 record, first train.csv:4) {HINT}",
        ),
        (
            ["food", "staff", "food#staff", "food#staff"],
            f"1 label looks like several joined by number signs: 'food#staff' (2 records, first train.csv:4) {HINT}",
        ),
        (
            ["food", "staff", "noise", "food/staff", "food/noise", "staff/noise", "food/staff/noise"],
            "4 labels look like several joined by slashes: 'food/noise' (1 record, first train.csv:6), "
            "'food/staff' (1 record, first train.csv:5), 'food/staff/noise' (1 record, first train.csv:8), "
            f"... {HINT}",
        ),
        (
            ["quiet", "food\nstaff"],
            f"1 label looks like several joined by line breaks: 'food\\nstaff' (1 record, first train.csv:3) {HINT}",
        ),
    ],
)
def test_labels_that_are_several_joined(labels, expected):
    assert warnings_of(*labels) == (expected,)
    assert warnings_of(*labels, several=False) == ()


@pytest.mark.parametrize(
    "labels",
    [
        ["food, drink", "staff"],
        ["R&D/Sales", "R&D/Law", "R&D"],
        ["C#", "C", "#1"],
        ["and/or", "x"],
        ["a,", "a"],
        ["food, drink", "food"],
    ],
)
def test_labels_with_separators_in_their_names_are_accepted(labels):
    assert warnings_of(*labels) == ()


RECORDS = {
    "classification": ({"label": "billing"}, {"label": "billing\u200b"}),
    "multilabel": ({"labels": ["billing", "x"]}, {"labels": ["billing\u200b"]}),
    "entities": ({"entities": [[0, 1, "billing"]]}, {"entities": [[0, 1, "billing\u200b"]]}),
}


@pytest.mark.parametrize("name", RECORDS)
def test_every_task_with_labels_warns_of_look_alikes(tmp_path, name):
    task, lines = load_task(name), [{"text": f"{letter} word", **RECORDS[name][letter == "b"]} for letter in "abac"]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    data = DataConfig(validation_fraction=0.0, test_fraction=0.0)
    labelling = Labelling(labels_of=task.labels_of, several=task.several_labels)
    report = check(load_splits(data, tmp_path, task.schema), labelling)
    expected = (
        "labels 'billing' (train.jsonl:1) and 'billing\\u200b' (train.jsonl:2) look alike but differ in "
        "U+200B ZERO WIDTH SPACE (only in the second)"
    )
    assert report.label_warnings == ((expected, 1),)
    assert expected in report.warnings
    assert report.to_dict()["label_warnings"] == ((expected, 1),)


def test_truth_values_and_numbers_side_by_side():
    (warning,) = warnings_of(*["true"] * 3, *["false"] * 3, *["1"] * 2, *["0"] * 2)
    assert warning.startswith("labels mix truth values and numbers, which are different labels: 'false' (3 records")
    assert "'1' (2 records, first train.csv:8)" in warning
    assert warnings_of(*["0"] * 3, *["1"] * 3) == warnings_of(*["true"] * 3, *["false"] * 3) == ()
