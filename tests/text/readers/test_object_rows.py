"""Rows from JSON objects: keys that only some objects have, and objects that are not records."""

import json

import pytest

from tfbert.config import DataConfig
from tfbert.text.records import read_records


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def message(path, **settings):
    with pytest.raises(ValueError) as caught:
        list(read_records(path, DataConfig(**settings)))
    return str(caught.value)


def test_json_objects_that_repeat_the_key_names_are_not_records(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "a", "label": "x"}\n{"text": "text", "label": "label"}\n')
    assert message(path).startswith("a.jsonl:2: contains the names of the keys instead of values")


def test_only_some_objects_may_have_an_unused_key(tmp_path):
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": "y", "source": "mail"}]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    layout = read_records(path, DataConfig()).layout
    assert (layout.used, list(layout.unused)) == ({"text": ["text"], "label": ["label"]}, ["source"])
