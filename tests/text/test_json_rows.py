"""JSON files in the layouts of pandas, data hubs and annotation tools."""

import json

import pytest

from tfbert.config import DataConfig
from tfbert.text.records import read_records

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
        ([{"id": 1, "data": {"text": "x"}, "annotations": []}], "a.json[0]: this is Label Studio's JSON export, which "
         "is not supported; export as JSON_MIN, CSV or CONLL2003"),
    ],
)  # fmt: skip
def test_another_layout_is_rejected(tmp_path, document, expected):
    assert message(write(tmp_path / "a.json", document)) == expected


def test_a_label_may_be_the_only_item_of_a_list(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "label": ["fee"]}\n{"text": "b", "label": "[\'late\']"}\n', encoding="utf-8")
    assert pairs(path) == [("a", "fee"), ("b", "late")]
