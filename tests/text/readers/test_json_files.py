"""JSON files in the layouts of pandas, data hubs and annotation tools."""

import json

import pytest

from tfbert.config import DataConfig
from tfbert.text.readers.columns import Column
from tfbert.text.records import Record, Schema, read_records

COLUMNS = (Column("text", "text, body"), Column("tags", "tags, topics", required=False, several=True))
ALL = Schema(COLUMNS, lambda row: Record(str(row.values["text"]), row.values.get("tags"), row.where))
ANY = Schema((), lambda row: Record("any", row.values, row.where))

TEXTS, LABELS = ["late again", "charged twice", "ok"], ["delivery", "fee", "other"]
OBJECTS = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
BY_COLUMN = {"text": dict(zip("012", TEXTS, strict=True)), "label": dict(zip("012", LABELS, strict=True))}
LAYOUTS = {
    "records": (OBJECTS, "an array of objects"),
    "split": (
        {"columns": ["text", "label"], "index": [0, 1, 2], "data": [list(o.values()) for o in OBJECTS]},
        "pandas' split layout",
    ),
    "table": ({"schema": {"fields": []}, "data": OBJECTS}, "an array of objects under 'data'"),
    "index": (dict(zip("abc", OBJECTS, strict=True)), "one object per key"),
    "columns": (BY_COLUMN, "pandas' columns layout"),
    "lists": ({"text": TEXTS, "label": LABELS}, "one list per column"),
    "wrapped": ({"version": "1.0", "examples": OBJECTS}, "an array of objects under 'examples'"),
}


def write(path, document, indent=None):
    path.write_text(json.dumps(document, indent=indent), encoding="utf-8")
    return path


def pairs(path, **settings):
    return [(record.text, record.target) for record in read_records(path, DataConfig(**settings))]


def message(path, **settings):
    with pytest.raises(ValueError) as caught:
        pairs(path, **settings)
    return str(caught.value)


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_read_and_described(tmp_path, layout, indent):
    document, kind = LAYOUTS[layout]
    path = write(tmp_path / "a.json", document, indent)
    assert pairs(path) == list(zip(TEXTS, LABELS, strict=True))
    assert read_records(path, DataConfig()).layout.kind == kind


def test_a_single_object_is_one_record(tmp_path):
    assert pairs(write(tmp_path / "a.json", OBJECTS[1])) == [("charged twice", "fee")]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"train": OBJECTS, "test": OBJECTS}, "a.json: several arrays of objects, under 'train', 'test'; expected one "
         "array; write each to a separate file (train, validation, test)"),
        ({"a": OBJECTS, "b": OBJECTS}, "a.json: several arrays of objects, under 'a', 'b'; expected one array; write "
         "each to a separate file"),
        ({"text": TEXTS, "label": LABELS[:2]}, "a.json: lists of different lengths by column ('text' 3, 'label' 2); "
         "expected one value for each row"),
        ({"rows": 3}, "a.json: an object with the keys 'rows'; expected an array of objects, an object with such an "
         "array, or a layout of pandas' to_json"),
        ([["late", "delivery"]], 'a.json[0]: ["late", "delivery"] is not an object; expected an array of objects'),
        ({"data": [{"title": "t", "paragraphs": []}]}, "a.json: is in SQuAD's layout, which --task answers reads; "
         "expected an array of objects, an object with such an array, or a layout of pandas' to_json"),
    ],
)  # fmt: skip
def test_another_layout_is_rejected(tmp_path, document, expected):
    assert message(write(tmp_path / "a.json", document)) == expected


def test_a_label_may_be_the_only_item_of_a_list(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "label": ["fee"]}\n{"text": "b", "label": "[\'late\']"}\n', encoding="utf-8")
    assert pairs(path) == [("a", "fee"), ("b", "late")]


def read(path, content, schema=ALL, **settings):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return [(record.where, record.text, record.target) for record in read_records(path, DataConfig(**settings), schema)]


def rejected(path, content, schema=ALL, **settings):
    with pytest.raises(ValueError) as caught:
        read(path, content, schema, **settings)
    return str(caught.value).replace(" (--set data.bad_rows=skip skips such rows)", "")


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
    assert rejected(tmp_path / "a.json", content).startswith(expected)


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
    assert rejected(tmp_path / "a.json", {"data": data}, ANY).startswith(expected)
