"""Tables with an unusual delimiter, header or layout."""

import csv
import io

import pytest

from tfbert.config import DataConfig
from tfbert.text.readers.columns import Column
from tfbert.text.records import LABELLED_TEXT, Record, Schema, read_records

RECORDS = [("late, again; sorry", "delivery"), ("charged | twice", "fee"), ("ok", "other")]
THREE = Schema(
    (Column("text", "text"), Column("extra", "extra", required=False), Column("label", "label")),
    lambda row: Record(row.values["text"], row.values["label"], row.where),
)


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def pairs(path, schema=LABELLED_TEXT, **settings):
    return [(record.text, record.target) for record in read_records(path, DataConfig(**settings), schema)]


def layout(path, **settings):
    reader = read_records(path, DataConfig(**settings))
    return reader.layout.lines()


def message(path, **settings):
    with pytest.raises(ValueError) as caught:
        pairs(path, **settings)
    return str(caught.value)


def table(delimiter, quoting=csv.QUOTE_MINIMAL, header=("text", "label")):
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows([header, *RECORDS])
    return stream.getvalue()


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize(("delimiter", "word"), [(",", "','"), (";", "';'"), ("\t", "TAB"), ("|", "'|'")])
def test_the_delimiter_of_a_csv_file_is_detected(tmp_path, delimiter, word, quoting):
    path = write(tmp_path / "a.csv", table(delimiter, quoting))
    assert pairs(path) == RECORDS
    assert layout(path) == [
        f"csv with {word} between columns, utf-8, column names on line 1",
        "reads text from 'text', label from 'label'; unused columns: none",
    ]


def test_the_delimiter_is_detected_with_other_columns_and_given_names(tmp_path):
    content = "Nr;Was, genau?;Thema\n1;zu spät, wieder;Lieferung\n2;doppelt;Gebühr\n"
    path = write(tmp_path / "a.csv", content)
    expected = [("zu spät, wieder", "Lieferung"), ("doppelt", "Gebühr")]
    assert pairs(path, columns="text=Was, genau?,label=Thema") == expected
    assert "among 'Nr', 'Was, genau?', 'Thema'" in message(path)


def test_a_delimiter_line_is_honoured_and_line_numbers_stay_correct(tmp_path):
    path = write(tmp_path / "a.csv", "sep=;\ntext;label\nlate;delivery\n;fee\n")
    assert message(path).startswith("a.csv:4: text is ''")
    assert pairs(path, bad_rows="skip") == [("late", "delivery")]


def test_a_delimiter_can_be_set(tmp_path):
    path = write(tmp_path / "a.csv", table("^"))
    assert pairs(path, delimiter="^") == RECORDS
    assert "'text^label'" in message(path)
    with pytest.raises(ValueError, match="^data.delimiter=;;: expected auto, or one character such as ';'$"):
        read_records(path, DataConfig(delimiter=";;"))


def test_a_tsv_file_with_commas_is_read_like_csv(tmp_path):
    assert pairs(write(tmp_path / "a.tsv", table(","))) == RECORDS


@pytest.mark.parametrize(
    "given",
    [
        "text=What happened, in your words?,label=Topic",
        ' text = What happened, in your words? , label = "Topic" '.replace('"', ""),
        '{"text": "What happened, in your words?", "label": "Topic"}',
    ],
)
def test_a_column_with_a_comma_in_its_name_can_be_named(tmp_path, given):
    header = ("What happened, in your words?", "Topic")
    assert pairs(write(tmp_path / "a.csv", table(",", header=header)), columns=given) == RECORDS


def test_a_table_without_column_names(tmp_path):
    path = write(tmp_path / "a.csv", '"late, again",delivery\nok,other\n')
    assert message(path).endswith("; if the first line is already a record, --set data.header=none")
    assert pairs(path, header="none") == [("late, again", "delivery"), ("ok", "other")]
    assert layout(path, header="none")[0] == "csv with ',' between columns, utf-8, no column names"
    path = write(tmp_path / "b.csv", "1,delivery,late\n2,other,ok\n")
    assert message(path, header="none") == (
        "b.csv:1: 3 columns without names for text and label; give their numbers, such as "
        "--set data.columns=text=1,label=2"
    )
    assert pairs(path, header="none", columns="text=3,label=2") == [("late", "delivery"), ("ok", "other")]


@pytest.mark.parametrize("again", ["text,label", " Text , LABEL", "\ufefftext,label"])
def test_a_repeated_header_is_not_a_record(tmp_path, again):
    path = write(tmp_path / "a.csv", f"text,label\nlate,delivery\n{again}\nok,other\n")
    assert message(path).startswith("a.csv:3: repeats the line of column names (")
    assert pairs(path, bad_rows="skip") == [("late", "delivery"), ("ok", "other")]


@pytest.mark.parametrize("again", ["label,text", "review,sentiment"])
def test_the_header_of_another_file_is_not_a_record(tmp_path, again):
    path = write(tmp_path / "a.csv", f"text,label\nlate,delivery\n{again}\nok,other\n")
    assert message(path).startswith("a.csv:3: repeats the line of column names (")


def test_an_unexpected_header_is_not_a_record(tmp_path):
    path = write(tmp_path / "a.csv", "review,sentiment\nlate,bad\n")
    assert message(path, header="none") == ("a.csv:1: names the columns ('review', 'sentiment'); omit data.header=none")


def test_columns_with_the_same_name_are_rejected(tmp_path):
    path = write(tmp_path / "a.csv", "text,label,label\nlate,a,b\n")
    expected = (
        "a.csv:1: more than one column could be the label: 'label', 'label'; expected different names; rename one of "
        "them"
    )
    assert message(path) == expected
    assert message(path, columns="label=label") == expected
