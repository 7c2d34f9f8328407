"""Lines of text and label, with and without a header, and fastText lines."""

import pytest

from tfbert.config import DataConfig
from tfbert.text.records import read_records


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def pairs(path, **settings):
    return [(record.text, record.target) for record in read_records(path, DataConfig(**settings))]


def message(path, **settings):
    with pytest.raises(ValueError) as caught:
        pairs(path, **settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text\tlabel\nlate\tdelivery\n", [("late", "delivery")]),
        ("Label\tText\ndelivery\tlate\n", [("late", "delivery")]),
        ("late\tdelivery\n", [("late", "delivery")]),
    ],
)
def test_a_header_above_lines_of_text_and_label_is_skipped(tmp_path, content, expected):
    assert pairs(write(tmp_path / "a.txt", content)) == expected


def test_a_header_among_lines_of_text_and_label_is_not_a_record(tmp_path):
    path = write(tmp_path / "a.txt", "late\tdelivery\ntext\tlabel\nok\tother\n")
    assert message(path).startswith("a.txt:2: repeats the line of column names ('text\\tlabel'); remove it")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("__label__fee charged twice\n__label__other ok\n", [("charged twice", "fee"), ("ok", "other")]),
        ("__label__fee\tcharged twice\n\n__label__other\tok\n", [("charged twice", "fee"), ("ok", "other")]),
        ("charged twice __label__fee\n", [("charged twice ", "fee")]),
        ("text\tlabel\n__label__fee\tcharged twice\n", [("charged twice", "fee")]),
    ],
)
def test_fasttext_lines_are_read(tmp_path, content, expected):
    assert pairs(write(tmp_path / "a.txt", content)) == expected


def test_fasttext_lines_with_several_labels_or_none_are_rejected(tmp_path):
    path = write(tmp_path / "a.txt", "__label__fee ok\n__label__fee __label__late both\nnone\n")
    assert message(path).startswith(
        'a.txt:2: label is ["fee", "late"]; expected one label; for several labels per text'
    )
    reader = read_records(path, DataConfig(bad_rows="skip"))
    assert [record.text for record in reader] == ["ok"]
    assert reader.tally.skipped[1] == "a.txt:3: no __label__ in 'none'; expected one, as in other lines"


def test_skipping_rows_is_not_suggested_if_no_row_is_valid(tmp_path):
    path = write(tmp_path / "a.txt", "late,delivery\nok,other\n")
    assert message(path) == (
        "a.txt:1: no separator '\\t' in 'late,delivery'; expected the text, '\\t' and the label; for another "
        "separator, such as ',': --set data.separator=,"
    )
    assert pairs(path, separator=",") == [("late", "delivery"), ("ok", "other")]
    path = write(tmp_path / "b.txt", "late,delivery\nok\tother\n")
    assert message(path).endswith("(--set data.bad_rows=skip skips such rows)")
