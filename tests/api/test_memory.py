"""Data in memory: written as files with the same content for the same data, and read with the errors of files."""

import datetime
import decimal
import json

import numpy as np
import pandas
import pytest

from tfbert.api import memory
from tfbert.config import DataConfig
from tfbert.tasks.base import load_task
from tfbert.text.records import read_records
from tfbert.text.splits import load_splits

CLASSIFICATION = load_task("classification")
ROWS = [{"text": "my card", "label": "card"}, {"text": "a fee", "label": "fee"}]


def written(data, tmp_path, task=CLASSIFICATION):
    values = memory.data_values(data, task, tmp_path, {})
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.rglob("*.json")}, values


@pytest.mark.parametrize(
    "rows", [ROWS, [("my card", "card"), ("a fee", "fee")], (dict(row) for row in ROWS), [["my card", "card"], ROWS[1]]]
)
def test_dicts_tuples_and_iterators_are_written_as_the_train_split(rows, tmp_path):
    files, values = written(rows, tmp_path)
    assert files == {"train": ROWS}
    [directory] = (tmp_path / "data").glob("*/classification")
    assert values == {"data.path": str(directory)}
    splits = load_splits(DataConfig(test_fraction=0, validation_fraction=0), directory, CLASSIFICATION.schema)
    assert [(record.text, record.target, record.where) for record in splits["train"]] == [
        ("my card", "card", "train.json[0]"),
        ("a fee", "fee", "train.json[1]"),
    ]


def test_the_same_data_has_the_same_path_and_other_data_another(tmp_path):
    paths = [
        memory.data_values(data, CLASSIFICATION, tmp_path, {})["data.path"]
        for data in (ROWS, list(ROWS), {"train": ROWS}, ROWS[::-1], {"train": ROWS, "test": ROWS})
    ]
    assert paths[0] == paths[1] == paths[2] and len(set(paths)) == 3


def test_splits_have_the_names_of_files(tmp_path):
    files, values = written({"test": ROWS[:1], "train": ROWS, "dev": ROWS[1:]}, tmp_path)
    assert files == {"train": ROWS, "validation": ROWS[1:], "test": ROWS[:1]}
    splits = load_splits(DataConfig(), values["data.path"], CLASSIFICATION.schema)
    assert list(splits) == ["train", "validation", "test"]


def test_splits_may_be_files(tmp_path):
    data = {"train": tmp_path / "a.csv", "test": ROWS}
    values = memory.data_values(data, CLASSIFICATION, tmp_path, {})
    assert values == {"data.train": str(tmp_path / "a.csv"), "data.test": str(next(tmp_path.rglob("test.json")))}


def test_paths_and_samples_are_not_written(tmp_path):
    assert memory.data_values(tmp_path / "a.csv", CLASSIFICATION, tmp_path, {}) == {
        "data.path": str(tmp_path / "a.csv")
    }
    assert memory.data_values(None, CLASSIFICATION, tmp_path, {}) == {}
    assert list(tmp_path.iterdir()) == []


def test_tuples_have_the_required_columns_of_the_task(tmp_path):
    files, _ = written([("Who?", "Ada wrote it.", "Ada")], tmp_path, load_task("answers"))
    assert files == {"train": [{"question": "Who?", "context": "Ada wrote it.", "answers": "Ada"}]}


def test_values_of_numpy_and_missing_values_are_those_of_json(tmp_path):
    row = {
        "text": np.str_("a\ud800"),
        "label": np.int64(3),
        "x": float("nan"),
        "y": np.array([1.5, 2]),
        "z": (True, {}),
    }
    files, _ = written([row], tmp_path)
    assert files == {"train": [{"text": "a\ud800", "label": 3, "x": None, "y": [1.5, 2.0], "z": [True, {}]}]}


def test_dates_and_decimals_are_written(tmp_path):
    moment = datetime.datetime(2024, 1, 2, 3, 4)
    row = {"text": "a", "label": "b", "day": moment.date(), "at": moment, "price": decimal.Decimal("1.50")}
    row |= {"hour": np.datetime64("2024-01-02T03"), "none": np.datetime64("NaT")}
    files, _ = written([row], tmp_path)
    assert files["train"][0] == {
        "text": "a", "label": "b", "day": "2024-01-02", "at": "2024-01-02T03:04:00", "price": 1.5,
        "hour": "2024-01-02T03", "none": None,
    }  # fmt: skip


def test_other_values_in_columns_that_are_not_read_are_left_out_with_a_warning(tmp_path, caplog):
    rows = [{**row, "photo": b"x", "rate": float("inf")} for row in ROWS]
    files, _ = written(rows, tmp_path)
    assert files == {"train": [{**row, "photo": None, "rate": None} for row in ROWS]}
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "train.json[0]: photo is \"b'x'\", of type bytes",
        "train.json[0]: rate is inf",
    ]
    with pytest.raises(ValueError, match=r"^train.json\[0\]: photo is .*of type bytes"):
        memory.data_values(rows, CLASSIFICATION, tmp_path, {"data.columns": "label=photo"})


def test_tuples_have_the_assigned_columns(tmp_path):
    rows = [("my card", "card")]
    text = memory.json_text(rows, "train", CLASSIFICATION, "text=review")
    assert json.loads(text) == [{"review": "my card", "label": "card"}]
    with pytest.raises(ValueError, match=r"^train.json\[0\]: is a tuple, but .* several columns; expected a dict"):
        memory.json_text([("a", 1, 2)], "train", load_task("multiple_choice"), "choices=a|b")


def test_settings_for_files_that_do_not_fit_are_refused(tmp_path):
    for path, value, message in (
        ("data.format", "csv", "data.format=csv: expected auto or json for data in memory"),
        ("data.encoding", "cp1252", "data.encoding=cp1252: expected utf-8 for data in memory"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            memory.data_values(ROWS, CLASSIFICATION, tmp_path, {path: value})
    memory.data_values({"train": ROWS, "test": "old.csv"}, CLASSIFICATION, tmp_path, {"data.encoding": "cp1252"})


def test_data_in_memory_is_read_with_any_encoding_of_files_given_with_it(tmp_path):
    rows = [{"text": "Käse für 3 €", "label": "fee"}]
    values = memory.data_values({"train": rows, "test": "a.csv"}, CLASSIFICATION, tmp_path, {})
    records = read_records(values["data.train"], DataConfig(encoding="cp1252"))
    assert [record.text for record in records] == ["Käse für 3 €"]


def test_a_data_frame_is_a_list_of_dicts(tmp_path):
    frame = pandas.DataFrame({"text": ["my card", None], "label": pandas.array([1, None], dtype="Int64")}, index=[7, 3])
    assert written(frame, tmp_path)[0] == {"train": [{"text": "my card", "label": 1}, {"text": None, "label": None}]}


def test_columns_of_a_data_frame_have_different_names(tmp_path):
    frame = pandas.DataFrame([["a fee", "fees", "cards"]], columns=["text", "label", "label"])
    with pytest.raises(ValueError, match="the DataFrame has several columns 'label'; expected different names"):
        written(frame, tmp_path)


@pytest.mark.parametrize("date", [datetime.date(2024, 1, 2), np.datetime64("2024-01-02"), pandas.Timestamp(2024, 1, 2)])
def test_a_date_is_not_a_label(date, tmp_path):
    with pytest.raises(ValueError, match=r"train.json\[0\]: label is the date 2024-01-02.*; expected text: convert it"):
        written([("a", date)], tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"text": ["a"], "label": ["b"]},
            "data: key 'text' is not a split; expected some of train, validation, calibration, test",
        ),
        ({"test": ROWS}, "data: has the splits 'test'; expected 'train' among them"),
        ({"train": ROWS, "dev": ROWS, "val": ROWS}, "data: several keys are the validation split; expected one"),
        (5, "train: of type int; expected a path, a pandas DataFrame, or a list of dicts or tuples"),
        ({"train": {"text": "a"}}, "train: of type dict; expected a path, a pandas DataFrame, or a list"),
        ([], "train: has no rows; expected one or more"),
        (["my card"], "train.json[0]: is of type str; expected a dict, or a tuple (text, label)"),
        ([*ROWS, ("a", "b", "c")], "train.json[2]: is 3 values; expected a dict, or a tuple (text, label)"),
        ([{"text": "a", "label": float("inf")}], "train.json[0]: label is inf; expected a finite number"),
        ([{"text": "a", "label": b"x"}], "train.json[0]: label is \"b'x'\", of type bytes; expected a text"),
    ],
)
def test_data_that_cannot_be_written_is_refused(data, message, tmp_path):
    with pytest.raises(ValueError) as error:
        memory.data_values(data, CLASSIFICATION, tmp_path, {})
    assert str(error.value).startswith(message)
    assert not list(tmp_path.rglob("*.json"))
