"""Files of predictions: the user's columns, the names of outputs, formats, and what a stopped process leaves."""

import csv
import json

import pytest

from tfbert.serving.prediction_file import PredictionFile

OUTPUTS = {"label": "card", "probability": 0.75, "start": [0, 4], "truncated": False}


def write(path, *rows):
    with PredictionFile(path, "data.csv") as file:
        for cells in rows:
            file.write(cells, OUTPUTS)
    assert file.num_rows == len(rows)
    return path.read_text(encoding="utf-8")


def test_a_table_keeps_the_columns_and_adds_the_outputs(tmp_path, caplog):
    caplog.set_level("INFO")
    text = write(tmp_path / "out.csv", (("id", "1"), ("text", 'my "card",\nplease')), (("id", ""), ("text", "\ud800")))
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    assert list(rows[0]) == ["id", "text", "label", "probability", "start", "truncated"]
    outputs = {"label": "card", "probability": "0.75", "start": "[0, 4]", "truncated": "false"}
    assert rows == [{"id": "1", "text": 'my "card",\nplease', **outputs}, {"id": "", "text": "\ufffd", **outputs}]
    assert caplog.messages == []


def test_an_output_with_the_name_of_a_column_gets_another_name(tmp_path, caplog):
    caplog.set_level("INFO")
    text = write(tmp_path / "out.tsv", (("text", 'my "card"'), ("label", "fee")))
    assert text == (
        'text\tlabel\tpredicted_label\tprobability\tstart\ttruncated\nmy "card"\tfee\tcard\t0.75\t[0, 4]\tfalse\n'
    )
    assert caplog.messages == ["data.csv: has 'label'; the outputs are written as predicted_NAME"]


def test_json_lines_keep_types_and_keys_of_single_rows(tmp_path):
    text = write(tmp_path / "out.jsonl", (("text", "a"), ("n", 1)), (("text", "b"), ("tags", ["x"])))
    rows = [json.loads(line) for line in text.splitlines()]
    assert rows == [{"text": "a", "n": 1, **OUTPUTS}, {"text": "b", "tags": ["x"], **OUTPUTS}]


def test_a_table_has_an_empty_cell_for_a_missing_key_and_json_for_a_list(tmp_path):
    text = write(tmp_path / "out.csv", (("text", "a"), ("tags", ["x", "y"])), (("text", "b"),), (("tags", None),))
    assert [row[:2] for row in csv.reader(text.splitlines())] == [
        ["text", "tags"],
        ["a", '["x", "y"]'],
        ["b", ""],
        ["", ""],
    ]


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("out.csv", [(("a", 1), ("a", 2))], "data.csv: several columns are named 'a'; rename them for --out"),
        (
            "out.csv",
            [(("a", 1),), (("a", 1), ("b", 2))],
            "data.csv: 'b' not in the first object; expected --out with a name in .jsonl",
        ),
        (
            "out.tsv",
            [(("a", "x\ty"),)],
            "data.csv: a value has a TAB or a line break, which .tsv cannot hold; "
            "expected --out with a name in .csv or .jsonl",
        ),
        (
            "out.jsonl",
            [(("label", 1), ("predicted_label", 2))],
            "data.csv: an input and an output are both named 'predicted_label'; rename the input",
        ),
        (
            "out.jsonl",
            [(("a", 1),), (("label", 2),)],
            "data.csv: an input and an output are both named 'label'; rename the input",
        ),
    ],
)
def test_rows_that_do_not_fit_leave_no_file(tmp_path, name, rows, message):
    with pytest.raises(ValueError) as caught:
        write(tmp_path / name, *rows)
    assert str(caught.value) == message and list(tmp_path.iterdir()) == []


def test_an_incomplete_file_does_not_have_the_name_of_a_complete_one(tmp_path):
    with pytest.raises(KeyboardInterrupt), PredictionFile(tmp_path / "out.csv", "data.csv") as file:
        file.write((("text", "a"),), OUTPUTS)
        (part,) = tmp_path.iterdir()
        assert part.name.startswith(".out.csv.") and part.name.endswith(".part")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_written_are_refused_before_predicting(tmp_path):
    (tmp_path / "out.csv").write_text("mine")
    for path, message in {
        "out.csv": "out.csv: exists; expected a new file",
        "out.xlsx": "out.xlsx: expected a name that ends in .csv, .tsv or .jsonl",
        "none/out.csv": "none does not exist",
    }.items():
        with pytest.raises(ValueError, match=message):
            PredictionFile(tmp_path / path, "data.csv")
    assert (tmp_path / "out.csv").read_text() == "mine"
