"""Parquet files: values, the label names of the library `datasets`, and errors with the row."""

import datetime
import json

import pytest

from tfbert.config import DataConfig
from tfbert.tasks import entities
from tfbert.text.records import LABELLED_TEXT, read_records

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
ADVICE = " (--set data.bad_rows=skip skips such rows)"


def write(path, columns, features=None):
    table = pyarrow.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, path)
    return path


def read(path, schema=LABELLED_TEXT, **settings):
    return [(record.text, record.target, record.where) for record in read_records(path, DataConfig(**settings), schema)]


def message(path, schema=LABELLED_TEXT, **settings):
    with pytest.raises(ValueError) as caught:
        read(path, schema, **settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["x", " y "], ["x", "y"]),
        ([1, 2], ["1", "2"]),
        ([1.0, 2.5], ["1", "2.5"]),
        ([True, False], ["true", "false"]),
        (pyarrow.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
        ([["x"], ["y"]], ["x", "y"]),
    ],
)
def test_labels_of_different_types(tmp_path, values, labels):
    path = write(tmp_path / "a.parquet", {"text": ["a", "b"], "label": values})
    assert read(path) == [("a", labels[0], "a.parquet: row 1"), ("b", labels[1], "a.parquet: row 2")]


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_label_is_an_error_with_its_row(tmp_path, missing):
    path = write(tmp_path / "a.parquet", {"text": ["a", "b", "c"], "label": [1.0, missing, 2.0]})
    expected = f"a.parquet: row 2: label is null; expected a string, a number, true or false{ADVICE}"
    assert message(path) == expected
    assert [row[0] for row in read(path, bad_rows="skip")] == ["a", "c"]


def test_dates_and_bytes_are_rejected_only_if_they_are_read(tmp_path):
    columns = {"text": ["a"], "label": ["x"], "day": [datetime.date(2024, 1, 2)], "image": [b"\0"]}
    path = write(tmp_path / "a.parquet", columns)
    assert [row[:2] for row in read(path)] == [("a", "x")]
    layout = read_records(path, DataConfig()).layout
    assert (layout.kind, layout.header, sorted(layout.unused)) == (
        "Parquet file",
        "column names in the file",
        ["day", "image"],
    )
    expected = "expected texts, numbers, truth values, or lists or objects of these"
    assert message(path, columns="label=day") == f"a.parquet: column 'day' has the type date32[day]; {expected}"
    assert message(path, columns="text=image") == f"a.parquet: column 'image' has the type binary; {expected}"


def test_label_names_come_from_the_file(tmp_path):
    names = {"names": ["negative", "positive"], "_type": "ClassLabel"}
    features = {"text": {"dtype": "string", "_type": "Value"}, "label": names}
    path = write(tmp_path / "a.parquet", {"text": ["a", "b"], "label": [1, 0]}, features)
    assert [row[1] for row in read(path)] == ["positive", "negative"]
    line = "Parquet file, column names in the file, label names from the file"
    assert read_records(path, DataConfig()).layout.lines()[0] == line
    path = write(tmp_path / "b.parquet", {"text": ["a", "b"], "label": [1, -1]}, features)
    assert message(path).startswith("b.parquet: row 2: label is -1, which stands for a missing label; expected 0 to 1,")


def test_tags_with_names_in_the_file(tmp_path):
    tags = {"names": ["O", "B-PER", "I-PER"], "_type": "ClassLabel"}
    for number, feature in enumerate(({"feature": tags, "_type": "Sequence"}, [tags])):
        columns = {"tokens": [["Ada", "Lovelace", "lives"]], "ner_tags": [[1, 2, 0]]}
        path = write(tmp_path / f"{number}.parquet", columns, {"ner_tags": feature})
        ((text, spans, _),) = read(path, entities.TASK.schema)
        assert (text, [tuple(span) for span in spans]) == ("Ada Lovelace lives", [(0, 12, "PER")])


def test_a_damaged_file_is_rejected(tmp_path):
    path = write(tmp_path / "a.parquet", {"text": ["a"], "label": ["x"]})
    path.write_bytes(path.read_bytes()[:-20])
    assert message(path).startswith("a.parquet: cannot be read as a Parquet file: ")
