"""The tables and the summary of an examination, from the command to training with its corrections."""

import csv
import json

import pytest
from support import small

from tfbert.data_quality import tables
from tfbert.data_quality.doubtful import DoubtfulRow, Judgement
from tfbert.data_quality.labels import GivenLabel
from tfbert.text.records import Record
from tfbert.text.spans import Span


def test_doubtful_rows_are_written_filled_in_and_used(tmp_path):
    small.write_data(tmp_path / "data", train=60)
    with open(tmp_path / "data" / "train.csv", "a", encoding="utf-8") as stream:
        stream.write("card pin atm card pin,loan\n")
    tools, encoder = small.tools(), ("--data", "data", "--encoder", "tiny")
    checked = tools("check", *encoder, "--doubtful", "--out", "quality", "--json", "r.json", cwd=tmp_path)
    assert checked.code == 0, checked.err
    results = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["doubtful"]
    with open(tmp_path / "quality" / tables.DOUBTFUL, newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == sum(results["num_doubtful"].values()) > 0
    assert [row["where"] for row in rows[:100]] == [row["where"] for row in results["rows"]]
    assert all(row["corrected_label"] == "" and row["label"] != row["suggested_label"] for row in rows)
    assert all((row["value"] != "") == (row["split"] == "train") for row in rows)
    assert "doubtful label" in checked.out and "drift" in checked.out
    rows[0]["corrected_label"] = "drop"
    with open(tmp_path / "filled.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    # The options of training are those of check, which is faster.
    options = small.assignments({"data.corrections": "filled.csv"})
    corrected = tools("check", *encoder, *options, "--doubtful", "--out", "quality", cwd=tmp_path)
    assert corrected.code == 0, corrected.err
    assert "filled.csv: 0 labels changed, 1 row dropped, 0 confirmed" in corrected.err
    # The new table has the earlier correction, and is therefore not replaced.
    with open(tmp_path / "quality" / tables.DOUBTFUL, newline="", encoding="utf-8-sig") as stream:
        (dropped,) = (row for row in csv.DictReader(stream) if row["corrected_label"])
    assert (dropped["where"], dropped["corrected_label"]) == (rows[0]["where"], "drop")
    again = tools("check", *encoder, "--doubtful", "--out", "quality", cwd=tmp_path)
    assert (again.code, "doubtful.csv: has corrections" in again.err) == (2, True)


def test_train_reads_corrections():
    train = small.load_command("train")
    config = train.read_config(train.build_parser("train").parse_args(["--corrections", "filled.csv"]))
    assert config.data.corrections == "filled.csv"


def write(path, text):
    path.write_text(text, encoding="utf-8-sig")
    return path.parent


@pytest.mark.parametrize(
    ("text", "is_filled_in"),
    [
        ("where,text,corrected_label\na.csv:2,b,\n", False),
        ("where,text,corrected_label\n", False),
        ("where,text,corrected_label\na.csv:2,b, \na.csv:3,c,drop\n", True),
        # Saved by a spreadsheet in another form.
        ("where;text;corrected_label\na.csv:2;b;\n", True),
    ],
)
def test_a_table_with_corrections_is_not_replaced(tmp_path, text, is_filled_in):
    write(tmp_path / tables.DOUBTFUL, text)
    if is_filled_in:
        with pytest.raises(ValueError, match=r"doubtful\.csv: has corrections, which would be lost; expected another"):
            tables.check_not_filled_in(tmp_path)
    else:
        tables.check_not_filled_in(tmp_path)


def test_tables_of_entities_have_positions(tmp_path):
    text = "👩‍💻 Ada met\nMary"
    ada = GivenLabel(Record(text, (Span(4, 7, "place"),), "a.jsonl:1"), "place", (4, 7))
    mary = GivenLabel(Record(text, (Span(4, 7, "place"),), "a.jsonl:1"), "no entity", (12, 16))
    rows = [
        DoubtfulRow(
            split="train",
            given=given,
            suggested="person",
            score=-0.5,
            self_confidence=0.1,
            margin=-0.4,
            neighbours=(ada,),
        )
        for given in (ada, mary)
    ]
    tables.write_table(tmp_path / "doubtful.csv", tables.doubtful_table(rows))
    with open(tmp_path / "doubtful.csv", newline="", encoding="utf-8-sig") as stream:
        first, second = csv.DictReader(stream)
    assert (first["start"], first["end"], first["entity"], first["label"]) == ("4", "7", "Ada", "place")
    assert (second["entity"], second["label"], second["suggested_label"]) == ("Mary", "no entity", "person")
    assert first["text"] == text and first["neighbours"] == f"a.jsonl:1 'Ada' in: {text}"
    counts = {"train": 1}
    judgement = Judgement(
        has_spans=True,
        num_records=counts,
        num_examined=counts,
        num_labels=counts,
        num_unjudged={"train": 0},
        rows=rows,
        values=[],
    )
    assert [kind for kind, _ in tables.label_lines(judgement)] == ["doubtful label", "missed entity"]
    assert "a.jsonl:1 'Mary' more likely 'person'" in tables.label_lines(judgement)[1][1]
    assert tables.labels_to_dict(judgement)["rows"][1] | {"neighbours": []} == {
        "split": "train",
        "where": "a.jsonl:1",
        "texts": [text],
        "start": 12,
        "end": 16,
        "entity": "Mary",
        "label": "no entity",
        "suggested_label": "person",
        "score": -0.5,
        "self_confidence": 0.1,
        "neighbours": [],
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--out", "x"], "check: --out x: has no effect without --doubtful"),
        (["--doubtful", "--task", "regression"], "labels of the task regression cannot be judged"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, options, expected):
    result = small.tools()("check", *options, cwd=tmp_path)
    assert (result.code, expected in result.err) == (2, True)
