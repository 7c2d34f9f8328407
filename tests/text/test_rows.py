"""Row readers: JSON arrays, SQuAD's layout, CoNLL columns, and roles with several columns."""

import json

import pytest

from tfbert.config import DataConfig
from tfbert.text.columns import Column
from tfbert.text.records import Record, Schema, read_records

COLUMNS = (Column("text", "text, body"), Column("tags", "tags, topics", required=False, several=True))
ALL = Schema(COLUMNS, lambda row: Record(str(row.values["text"]), row.values.get("tags"), row.where))
ANY = Schema((), lambda row: Record("any", row.values, row.where))


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


def test_a_json_array_and_lines_in_a_json_file(tmp_path):
    items = [{"text": "a"}, {"text": "b", "topics": ["x", "y"]}]
    expected = [("a", None), ("b", ["x", "y"])]
    rows = read(tmp_path / "a.json", json.dumps(items, indent=1))
    assert rows == [(f"a.json[{index}]", *row) for index, row in enumerate(expected)]
    rows = read(tmp_path / "b.json", "\n".join(map(json.dumps, items)))
    assert rows == [(f"b.json:{index + 1}", *row) for index, row in enumerate(expected)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "a.json: not JSON (Expecting property name"),
        ('{"id": "a",\n "b": 1}', "a.json: an object with the keys 'id', 'b'; expected an array of objects, an object"),
        ("[3]", "a.json[0]: 3 is not an object; expected an array of objects"),
        ('[{"body": "a"}, {"text": "a"}]', "a.json[1]: no key 'body' among 'text'; expected it in every object"),
        ("[]", "a.json: no records; expected at least one object in the array"),
    ],
)
def test_other_json_is_rejected(tmp_path, content, expected):
    assert message(tmp_path / "a.json", content).startswith(expected)


def question(number, **values):
    return {"id": f"q{number}", "question": f"Q{number}?", "answers": [{"text": "a", "answer_start": number}]} | values


def test_squad_has_one_row_per_question(tmp_path):
    impossible = question(2, answers=[], is_impossible=True, plausible_answers=[{"text": "b", "answer_start": 0}])
    paragraphs = [{"context": "one", "qas": [question(1), impossible]}, {"context": "two", "qas": [question(3)]}]
    rows = read(tmp_path / "a.json", {"version": "v2.0", "data": [{"title": "t", "paragraphs": paragraphs}]}, ANY)
    assert [where for where, _, _ in rows] == ["a.json:q1", "a.json:q2", "a.json:q3"]
    values = [value for _, _, value in rows]
    assert [value["context"] for value in values] == ["one", "one", "two"]
    assert [value["question"] for value in values] == ["Q1?", "Q2?", "Q3?"]
    assert [value["is_impossible"] for value in values] == [None, True, None]
    assert [value["answers"] for value in values] == [
        [{"text": "a", "answer_start": 1}],
        [],
        [{"text": "a", "answer_start": 3}],
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([{"title": "t"}], "a.json: data[0] has no list 'paragraphs'; expected SQuAD's layout"),
        ([{"paragraphs": [{"context": "c"}]}], "a.json: data[0].paragraphs[0] has no list 'qas'; expected SQuAD's"),
        (
            [{"paragraphs": [{"context": "c", "qas": ["?"]}]}],
            'a.json: data[0].paragraphs[0].qas[0] is "?"; expected an',
        ),
    ],
)
def test_a_damaged_squad_file_is_rejected_with_the_location(tmp_path, data, expected):
    assert message(tmp_path / "a.json", {"data": data}, ANY).startswith(expected)


def test_conll_sentences_end_at_lines_without_words(tmp_path):
    content = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\t\n\n\u200b O\nPeter\tB-PER\n"
    rows = read(tmp_path / "a.conll", content, ANY)
    assert [(where, value["words"], value["tags"], value["lines"]) for where, _, value in rows] == [
        ("a.conll:3", ["EU", "rejects"], ["B-ORG", "O"], [3, 4]),
        ("a.conll:7", ["\u200b", "Peter"], ["O", "B-PER"], [7, 8]),
    ]


def test_a_word_without_a_tag_is_rejected_with_its_line(tmp_path):
    content = "EU B-ORG\nrejects\nthe O\n\nPeter B-PER\n"
    assert message(tmp_path / "a.conll", content, ANY) == "a.conll:2: 'rejects' has no tag; expected a word and a tag"
    rows = read(tmp_path / "a.conll", content, ANY, bad_rows="skip")
    assert [where for where, _, _ in rows] == ["a.conll:5"]
