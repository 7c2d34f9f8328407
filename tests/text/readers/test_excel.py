"""Excel workbooks: values of cells, sheets, and errors with the sheet and the row."""

import datetime
import gzip
import sys
import zipfile

import pytest

from tfbert.config import DataConfig
from tfbert.tasks import regression
from tfbert.text.records import LABELLED_TEXT, read_records

openpyxl = pytest.importorskip("openpyxl")
HEADER = ("text", "label")
ADVICE = " (--set data.bad_rows=skip skips such rows)"


def write(path, **sheets):
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for title, rows in sheets.items():
        sheet = workbook.create_sheet(title)
        for row in rows:
            sheet.append(row)
    workbook.save(path)
    return path


def read(path, schema=LABELLED_TEXT, **settings):
    return [(record.text, record.target, record.where) for record in read_records(path, DataConfig(**settings), schema)]


def message(path, **settings):
    with pytest.raises(ValueError) as caught:
        read(path, **settings)
    return str(caught.value)


def test_values_are_those_of_a_csv_file(tmp_path):
    rows = [("late, again", 1.0), (42, True), ("  ok ", "TRUE"), (1.5, 2.5), ("last", "1.0")]
    path = write(tmp_path / "a.xlsx", Data=[(None, None), HEADER, *rows[:2], (None, None, None), *rows[2:]])
    assert read(path) == [
        ("late, again", "1", "a.xlsx: sheet 'Data' row 3"),
        ("42", "true", "a.xlsx: sheet 'Data' row 4"),
        ("  ok ", "true", "a.xlsx: sheet 'Data' row 6"),
        ("1.5", "2.5", "a.xlsx: sheet 'Data' row 7"),
        ("last", "1", "a.xlsx: sheet 'Data' row 8"),
    ]
    assert read_records(path, DataConfig()).layout.lines() == [
        "Excel sheet 'Data', column names in row 2",
        "reads text from 'text', label from 'label'; unused columns: none",
    ]
    csv_path = tmp_path / "a.csv"
    csv_path.write_text('text,label\n"late, again",1.0\n42,True\n  ok ,TRUE\n1.5,2.5\nlast,1\n', encoding="utf-8")
    assert [row[:2] for row in read(csv_path)] == [row[:2] for row in read(path)]


def test_numbers_are_read_as_such(tmp_path):
    path = write(tmp_path / "a.xlsx", Data=[("text", "value"), ("a", 1), ("b", 2.25)])
    assert [row[1] for row in read(path, regression.TASK.schema)] == [1.0, 2.25]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (("a", None), "label is ''; expected at least one non-whitespace character"),
        ((None, "x"), "text is ''; expected at least one non-whitespace character"),
        (("a", "#N/A"), "column 'label' contains the error #N/A; expected text or a number"),
        (("a", "x", "y"), "3 columns ('a', 'x', 'y'); expected 2, as in the header"),
        (
            ("a", datetime.datetime(2024, 1, 2)),
            "column 'label' contains the date 2024-01-02 00:00:00; expected text or a number; if Excel turned a text "
            "into a date, format the cell as text and retype it",
        ),
    ],
)
def test_a_bad_row_is_an_error_with_its_sheet_and_row(tmp_path, row, expected):
    path = write(tmp_path / "a.xlsx", Data=[HEADER, ("good", "x"), row, ("good", "x")])
    assert message(path) == f"a.xlsx: sheet 'Data' row 3: {expected}{ADVICE}"
    assert len(read(path, bad_rows="skip")) == 2


def test_dates_and_errors_in_unused_columns_are_no_error(tmp_path):
    rows = [("a", "x", datetime.date(2024, 1, 2)), ("b", "y", "#N/A")]
    path = write(tmp_path / "a.xlsx", Data=[(*HEADER, "day"), *rows])
    assert [row[:2] for row in read(path)] == [("a", "x"), ("b", "y")]
    assert list(read_records(path, DataConfig()).layout.unused) == ["day"]


def test_the_sheet_is_the_only_filled_one_or_the_given_one(tmp_path):
    first, second = [HEADER, ("a", "x")], [HEADER, ("b", "y")]
    assert read(write(tmp_path / "a.xlsx", Empty=[], Data=first))[0][0] == "a"
    path = write(tmp_path / "b.xlsx", One=first, Two=second)
    expected = "b.xlsx: has several sheets: 'One', 'Two'; expected the name of one with --set data.sheet=One"
    assert message(path) == expected
    assert read(path, sheet="Two")[0] == ("b", "y", "b.xlsx: sheet 'Two' row 2")
    assert message(path, sheet="Twoo") == "b.xlsx: no sheet 'Twoo' among 'One', 'Two'; did you mean 'Two'?"
    assert message(write(tmp_path / "c.xlsx", One=[])).startswith("c.xlsx: no records; expected at least one row below")


def test_a_compressed_workbook_is_read(tmp_path):
    path = write(tmp_path / "a.xlsx", Data=[HEADER, ("a", "x")])
    (tmp_path / "b.xlsx.gz").write_bytes(gzip.compress(path.read_bytes()))
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.write(path, "a.xlsx")
    for name in ("b.xlsx.gz", "c.zip"):
        assert read(tmp_path / name) == [("a", "x", f"{name}: sheet 'Data' row 2")]
    (tmp_path / "b.xlsx.gz").write_bytes(gzip.compress(path.read_bytes())[:-9])
    assert message(tmp_path / "b.xlsx.gz").startswith("b.xlsx.gz: cannot be read")


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("xl/workbook.xml", "a.xlsx: cannot be read as an Excel workbook: "),
        ("xl/worksheets/sheet1.xml", "a.xlsx: sheet 'Data' cannot be read after row 1: "),
    ],
)
def test_a_damaged_workbook_is_an_error(tmp_path, member, expected):
    intact = write(tmp_path / "intact.xlsx", Data=[HEADER, ("a", "x"), ("b", "y")])
    with zipfile.ZipFile(intact) as source, zipfile.ZipFile(tmp_path / "a.xlsx", "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content[: content.find(b'r="A2"')] if name == member else content)
    assert message(tmp_path / "a.xlsx").startswith(expected)


def test_columns_without_names(tmp_path):
    path = write(tmp_path / "a.xlsx", Data=[("a", "x"), ("b", "y")])
    assert [row[:2] for row in read(path, header="none")] == [("a", "x"), ("b", "y")]
    assert message(path).startswith("a.xlsx: sheet 'Data' row 1: no text column among 'a', 'x'")


def test_other_files_are_rejected(tmp_path, monkeypatch):
    path = tmp_path / "a.xlsx"
    path.write_text("text,label\na,x\n")
    assert message(path) == "a.xlsx: cannot be read as an Excel workbook: File is not a zip file"
    path.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(99))
    assert message(path) == "a.xlsx: is an old Excel file (.xls) or encrypted; save it as .xlsx or .csv"
    write(path, Data=[HEADER, ("a", "x")])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert message(path).startswith(
        "the package openpyxl, needed for Excel workbooks, is not installed; install it with: pip inst"
    )
