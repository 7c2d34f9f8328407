"""Rows of tables from lists of cells."""

from tfbert.config import DataConfig
from tfbert.text.readers.cell_rows import BadCell, Cells, cell_rows
from tfbert.text.readers.columns import ColumnFinder
from tfbert.text.readers.layout import Layout
from tfbert.text.readers.rows import Row, Source
from tfbert.text.records import LABEL, TEXT


def rows(*table, **settings):
    source = Source("a", "a", DataConfig(**settings), (TEXT, LABEL), Layout("a"))
    cells = (Cells(f"a:{number}", f"in row {number}", values) for number, values in enumerate(table, start=1))
    finder = ColumnFinder(source.columns, source.data, "column")
    return list(cell_rows(cells, source, finder)), source.layout


def test_a_cell_that_cannot_be_used_is_an_error_only_if_it_is_read():
    bad = BadCell("2024-01-02", "contains a date; expected text")
    result, layout = rows([], ["text", "day", "label"], ["a", bad, "x"], ["b", "1", bad], [])
    cells = (("text", "a"), ("day", "2024-01-02"), ("label", "x"))
    assert result == [
        Row("a:3", {"text": "a", "label": "x"}, cells),
        "a:4: column 'label' contains a date; expected text",
    ]
    assert (layout.header, layout.unused["day"].counts) == ("column names in row 2", {"2024-01-02": 1})


def test_rows_of_another_length_or_with_the_column_names_are_errors():
    result, _ = rows(["text", "label"], ["a"], ["text", "label"], ["b", "y"])
    assert result == [
        "a:2: 1 column ('a'); expected 2, as in the header",
        "a:3: repeats the line of column names ('text', 'label'); remove it",
        Row("a:4", {"text": "b", "label": "y"}, (("text", "b"), ("label", "y"))),
    ]


def test_without_a_header_columns_have_numbers():
    result, layout = rows(["1", "x", "a"], ["2", "y", "b"], header="none", columns="text=3,label=2")
    assert [row.values for row in result] == [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    assert (layout.header, list(layout.unused)) == ("no column names", ["1"])
