"""Corrections: labels changed and rows dropped by a table that a person has filled in."""

import csv

import pytest
from support import small

from tfbert.config import DataConfig
from tfbert.tasks.base import load_task
from tfbert.text.splits import load_splits

TRAIN = [("lost my card", "card"), ("what a fee", "fee"), ("house  loan", "loan"), ("odd text", "fee")]
TEST = [("a card", "card")]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    small.write_csv(tmp_path / "data" / "train.csv", TRAIN)
    small.write_csv(tmp_path / "data" / "test.csv", TEST)
    return tmp_path


def write_table(folder, rows, name="doubtful.csv"):
    with open(folder / name, "w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.writer(stream)
        writer.writerow(["where", "split", "text", "label", "corrected_label", "score"])
        writer.writerows([where, "train", text, "?", corrected, "-0.5"] for where, text, corrected in rows)
    return folder / name


def splits(folder, table=None):
    data = DataConfig(corrections=table and str(table), validation_fraction=0, test_fraction=0)
    return load_splits(data, folder / "data", load_task("classification").schema)


def message(folder, rows):
    with pytest.raises(ValueError) as caught:
        splits(folder, write_table(folder, rows))
    return str(caught.value)


def test_labels_are_changed_and_rows_dropped(folder):
    table = write_table(
        folder,
        [
            ("train.csv:2", "lost my card", "fee"),
            ("train.csv:3", "what a fee", ""),
            ("train.csv:4", "house loan", "loan"),
            ("train.csv:5", "odd text", "drop"),
        ],
    )
    before, after = splits(folder), splits(folder, table)
    assert [(r.text, r.target, r.where) for r in after["train"]] == [
        ("lost my card", "fee", "train.csv:2"),
        ("what a fee", "fee", "train.csv:3"),
        ("house  loan", "loan", "train.csv:4"),
    ]
    assert after["train"].note == "doubtful.csv: 1 label changed, 1 row dropped, 1 confirmed"
    assert list(after["test"]) == list(before["test"]) and after["test"].sha256 == before["test"].sha256
    # The digest identifies runs and cached tokens.
    other = splits(folder, write_table(folder, [("train.csv:2", "lost my card", "loan")], "other.csv"))
    assert len({before["train"].sha256, after["train"].sha256, other["train"].sha256}) == 3


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("train.csv:2", "lost my card", "")], "no cell of corrected_label is filled in"),
        ([("train.csv:2", "lost my cat", "fee")], "doubtful.csv:2: train.csv:2 now has the text 'lost my card'; expec"),
        ([("train.csv:9", "lost my card", "fee")], "doubtful.csv:2: the data has no record train.csv:9"),
        (
            [("train.csv:2", "lost my card", "fees")],
            "doubtful.csv:2: corrected_label 'fees' is not one of the 3 labels",
        ),
        (
            [("train.csv:2", "lost my card", "fee"), ("train.csv:2", "lost my card", "loan")],
            "doubtful.csv:3: corrects the same as doubtful.csv:2; expected one",
        ),
    ],
)
def test_a_correction_that_does_not_fit_is_refused(folder, rows, expected):
    assert expected in message(folder, rows)
    assert "did you mean 'fee'?" in message(folder, rows) or rows[0][2] != "fees"


def test_a_missing_table_is_refused(folder):
    with pytest.raises(ValueError, match=r"data\.corrections=nowhere\.csv: no such file"):
        splits(folder, "nowhere.csv")
