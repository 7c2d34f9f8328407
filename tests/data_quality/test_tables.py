"""The tables and the summary of an examination, from the command to training with its corrections."""

import csv
import json

import pytest
from support import small

from tfbert.data_quality import tables


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
    again = tools("check", *encoder, "--doubtful", "--out", "quality", cwd=tmp_path)
    assert (again.code, "doubtful.csv: exists and may have corrections" in again.err) == (2, True)
    rows[0]["corrected_label"] = "drop"
    with open(tmp_path / "filled.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    options = ("--corrections", "filled.csv", "--out", "run", "--no-export", "--set", "train.epochs=1")
    trained = tools("train", *encoder, *options, cwd=tmp_path)
    assert trained.code == 0, trained.err
    assert "filled.csv: 0 labels changed, 1 row dropped, 0 confirmed" in trained.err
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["data"]["corrections"] == "filled.csv"


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
