"""Rows: roles with several columns, and malformed settings of columns."""

import json

import pytest

from tfbert.config import DataConfig
from tfbert.text.readers.columns import Column
from tfbert.text.records import Record, Schema, read_records

COLUMNS = (Column("text", "text, body"), Column("tags", "tags, topics", required=False, several=True))
ALL = Schema(COLUMNS, lambda row: Record(str(row.values["text"]), row.values.get("tags"), row.where))


def read(path, content, schema=ALL, **settings):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return [(record.where, record.text, record.target) for record in read_records(path, DataConfig(**settings), schema)]


def message(path, content, schema=ALL, **settings):
    with pytest.raises(ValueError) as caught:
        read(path, content, schema, **settings)
    return str(caught.value).replace(" (--set data.bad_rows=skip skips such rows)", "")


def test_a_role_may_have_several_columns(tmp_path):
    rows = "id,body,red,blue\n1,a,0,1\n2,b,1,\n"
    expected = [("a.csv:2", "a", {"red": "0", "blue": "1"}), ("a.csv:3", "b", {"red": "1", "blue": ""})]
    assert read(tmp_path / "a.csv", rows, columns="tags=red|blue") == expected
    line = '{"red": 0, "body": "a", "blue": true}\n{"body": "b", "blue": 3}'
    expected = [("a.jsonl:1", "a", {"red": 0, "blue": True}), ("a.jsonl:2", "b", {"red": None, "blue": 3})]
    assert read(tmp_path / "a.jsonl", line, columns="tags=red|blue") == expected


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("text", "expected role=name, several separated by commas"),
        ("text=", "expected role=name, several separated by commas"),
        ("tex=a", "'tex' is not one of text, tags; did you mean 'text'?"),
        (
            "text=a|b",
            'text is a single column; expected one name; if a name contains |, use JSON such as {"text": "a|b"}',
        ),
        ("text=a,tags=b|a", "text and tags are both 'a'; expected two columns"),
    ],
)
def test_a_malformed_setting_of_columns_is_rejected_before_reading(tmp_path, given, reason):
    (tmp_path / "a.csv").write_text("not read")
    with pytest.raises(ValueError) as caught:
        read_records(tmp_path / "a.csv", DataConfig(columns=given), ALL)
    assert str(caught.value) == f"data.columns={given}: {reason}"
